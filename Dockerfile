# The command line and the live page on a CPU. Not built where this repository is developed (no Docker there).
#   docker build -t ganlens .
#   docker run --rm -v "$PWD:/data" ganlens translate clip.mp4 -o painted.mp4
#   docker run --rm -p 8000:8000 ganlens                 the live page; the address with its token is printed
FROM python:3.12-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml CMakeLists.txt constraints.txt README.md LICENSE NOTICE ./
COPY engine engine
COPY export export
COPY train train
ENV PIP_BUILD_CONSTRAINT=/src/constraints.txt PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/ganlens \
 && /opt/ganlens/bin/pip install --constraint constraints.txt '.[cpu,live,faces]'

FROM python:3.12-slim-bookworm
COPY --from=build /opt/ganlens /opt/ganlens
ENV PATH=/opt/ganlens/bin:$PATH GANLENS_CACHE=/tmp/ganlens
RUN useradd --create-home --uid 1000 ganlens
USER 1000
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["engine"]
# A page that other machines reach is guarded by a token in its address; the browser gives its camera over https only.
CMD ["live", "browser:", "--web", "8000", "--host", "0.0.0.0"]
