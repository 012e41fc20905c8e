"""ganlens.engine: image-to-image GAN generators as real-time image and video filters."""
