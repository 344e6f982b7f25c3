# What a developer runs. `make` lists the targets. Nothing is needed but Go, git, bash and make; a test cluster and the tools
# are built from Go modules on first use and kept in the user's cache folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir

# A tool is built once for each version of it and of Go.
lint_version = $(shell { cat tools/lint/go.mod tools/lint/go.sum; go version; } | git hash-object --stdin | cut -c1-16)
golangci = $(cache)/tools/$(lint_version)/golangci-lint

# The Go files that people write.
sources = $$(git ls-files --cached --others --exclude-standard '*.go' ':!*zz_generated*')

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Develop

.PHONY: generate
generate: ## Write what is derived: deepcopy methods and CRDs from the API types, roles from the distribution
	bash tools/generate.sh
	go run ./cmd/rights

.PHONY: fmt
fmt: ## Format the Go sources
	gofmt -s -w $(sources)

.PHONY: tidy
tidy: ## Tidy the modules
	go mod tidy
	go -C tools mod tidy
	go -C tools/lint mod tidy

.PHONY: lint
lint: ## Run the linters (.golangci.yaml)
	@[ -x "$(golangci)" ] || { echo "building golangci-lint, once"; mkdir -p "$(cache)/tools"; \
		go -C tools/lint build -trimpath -ldflags '-s -w' -o "$(golangci)" github.com/golangci/golangci-lint/v2/cmd/golangci-lint; }
	"$(golangci)" run ./...

.PHONY: verify
verify: ## Check that nothing is left to format, tidy or generate
	@unformatted=$$(gofmt -s -l $(sources)); [ -z "$$unformatted" ] || { echo "make fmt would change:"; echo "$$unformatted"; exit 1; }
	@changes=$$(go mod tidy -diff) || { grep '^[-+]' <<<"$$changes" | sed -n 1,40p; echo "make tidy would change go.mod or go.sum"; exit 1; }
	@state() { find api config/crd config/least-privilege -type f -exec cksum {} + | sort -k3; }; before=$$(state); $(MAKE) generate; \
		diff <(echo "$$before") <(state) || { echo "make generate has changed the files above"; exit 1; }

##@ Test

.PHONY: test
test: ## Run all tests; RACE=1 looks for data races, PKG="./reconcilers/..." runs some only
	go run ./test/suite $(if $(RACE),-race) $(PKG)

.PHONY: e2e
e2e: ## Run the end-to-end tests only: on a real node where one can run, and without one
	go run ./test/suite ./test/e2e/...

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (default 30s) each
	@git grep -E '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed -E 's/^(.*)\/[^/]*:func (Fuzz[A-Za-z0-9_]*).*/\1 \2/' | \
		while read -r folder name; do \
			echo "$$folder $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime "$(or $(FUZZTIME),30s)" -fuzzminimizetime 2s "./$$folder" </dev/null || exit 1; \
		done

.PHONY: bench
bench: ## Measure fleets of 100, 500 and 1000 Kustomizations and HelmReleases; BENCH_OUT=FILE appends the figures, ARGS="-n 100" changes them
	go run ./test/bench $(ARGS)

##@ Run

.PHONY: build
build: ## Build the manager into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/manager ./cmd/manager

.PHONY: image
image: ## Build the container image and the install manifest into dist/; IMAGE=REPOSITORY TAG=… PUSH=true push it too
	@mkdir -p dist
	go run ./cmd/image --repository "$(or $(IMAGE),ghcr.io/weir-dev/weir)" --tag "$(or $(TAG),dev)" --push="$(or $(PUSH),false)" \
		--layout dist/image --install dist/install.yaml

.PHONY: distribution
distribution: ## Build what FluxInstances name in spec.distribution.artifact, with the image; TAG=… EXTEND=oci://… PUSH=true push both
	@mkdir -p dist
	go run ./cmd/image --repository "$(or $(IMAGE),ghcr.io/weir-dev/weir)" --tag "$(or $(TAG),dev)" --push="$(or $(PUSH),false)" \
		--layout dist/image --install dist/install.yaml --created "$$(TZ=UTC git log -1 --date=iso-strict-local --format=%cd)" \
		--revision "$$(git rev-parse HEAD)" --distribution "oci://$(or $(ARTIFACT),ghcr.io/weir-dev/manifests:latest)" \
		--extend "$(EXTEND)" --distribution-layout dist/distribution

.PHONY: demo
demo: ## Show Weir from nothing: a cluster, one FluxInstance, a synced and self-repairing fleet
	go run ./test/demo $(ARGS)

.PHONY: demo-down
demo-down: ## Remove all that the demo has left
	go run ./test/demo down

.PHONY: clean
clean: ## Remove what was built, except what is kept in the cache folder
	rm -rf bin dist
