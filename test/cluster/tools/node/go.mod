module github.com/weir-dev/weir/test/cluster/tools/node

go 1.26.0
