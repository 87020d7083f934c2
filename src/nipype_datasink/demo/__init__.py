"""The main job from end to end: a real workflow on real images, sunk into S3 twice."""
