#!/usr/bin/env bash
# Regenerates what is derived from the types in api/: deepcopy methods and CRDs.
# The generator is pinned in tools/go.mod; running this again changes nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

go tool -modfile=tools/go.mod controller-gen \
	object crd:maxDescLen=0 paths=./api/... "output:crd:dir=$fresh"

mkdir -p config/crd/bases
cp "$fresh"/*.yaml config/crd/bases/

# Leave no CRD behind of a kind that is gone.
for crd in config/crd/bases/*.yaml; do
	[[ -e $fresh/${crd##*/} ]] || rm "$crd"
done

{
	echo 'apiVersion: kustomize.config.k8s.io/v1beta1'
	echo 'kind: Kustomization'
	echo 'resources:'
	(cd config/crd && LC_ALL=C ls bases/*.yaml) | sed 's/^/- /'
} >config/crd/kustomization.yaml
