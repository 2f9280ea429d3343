#!/bin/sh
# Provision the quickstart project in a directory of its own, look at it, break it, repair it. Needs no network.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cp -R "$here/provender.yaml" "$here/store" "$work"
cd "$work"
XDG_CACHE_HOME="$work/.cache"
XDG_CONFIG_HOME="$work/.config"
export XDG_CACHE_HOME XDG_CONFIG_HOME
unset PROVENDER_REGISTRY_ACME PROVENDER_REGISTRIES 2>/dev/null || true

say() { printf '\n\033[1m# %s\033[0m\n' "$1"; }
run() {
  printf '\033[36m$ %s\033[0m\n' "$*"
  "$@"
}

say "What the project needs"
run cat provender.yaml

say "Resolve, verify, lock, extract"
run provender sync

say "What lies on disk"
run find vendor charts -type f

say "What is locked: digests, and no host"
run head -n 32 provender.lock

say "Again: nothing to do, no connection opened, no file hashed"
run provender sync

say "Somebody edits a vendored file"
run sh -c 'echo "deny contains msg if { false }" >> vendor/policies/policies/require-labels.rego'
if run provender check; then
  echo "check should have found the change" >&2
  exit 1
fi

say "A change is never overwritten by accident"
if run provender sync; then
  echo "sync should have refused" >&2
  exit 1
fi

say "Repair it on purpose"
run provender sync --force
run provender check
