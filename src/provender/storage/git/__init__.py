"""Git repositories as the `git` program gives them: clones in the cache, and objects read straight out of them.

Storage layer. No checkout, hook or filter ever runs; what a repository may make git do is bounded by `command`.
"""
