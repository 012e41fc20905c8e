"""Live sources and sinks: cameras, network streams, the browser's camera, virtual cameras and programs."""
