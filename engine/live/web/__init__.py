"""The page of a live session and its API (extra "live"): Starlette, uvicorn and plain ES modules, no CDN."""
