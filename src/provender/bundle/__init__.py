"""Bundles: files and the images that they need, by digest, as one artifact that moves as a whole.

Beside `artifact` and below `relocate`: a lock of images becomes wishes there. provender's own bundles and imgpkg's are
read by the same modules; the vendir dialect reads them here, too.
"""
