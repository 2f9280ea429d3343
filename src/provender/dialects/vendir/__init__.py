"""vendir: `vendir.yml` and `vendir.lock.yml` (vendir.k14s.io/v1alpha1) as vendir means them, and `ociArtifact`."""
