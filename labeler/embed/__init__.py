"""Image -> vector: backbones, the fast CPU runtime, and the cache of vectors on disk."""
