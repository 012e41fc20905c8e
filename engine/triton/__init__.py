"""Model repositories for NVIDIA's Triton Inference Server. The server is not imported here."""
