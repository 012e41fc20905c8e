# Cross-builds the kernels for aarch64: packaging/arm.sh names the header files of Python in GANLENS_PYTHON_INCLUDE and
# the suffix of its modules in GANLENS_PYTHON_SOABI.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(Python_INCLUDE_DIR "$ENV{GANLENS_PYTHON_INCLUDE}")
set(Python_SOABI "$ENV{GANLENS_PYTHON_SOABI}")
set(SKBUILD_SOABI "$ENV{GANLENS_PYTHON_SOABI}")
