package sops

import (
	"context"
	"io"

	"github.com/weir-dev/weir/test/tool"
)

// Version of the program.
const Version = "v3.13.3"

// Build returns the path of the program sops, which it builds if it is not in the user's cache folder. Progress goes to log.
func Build(ctx context.Context, log io.Writer) (string, error) {
	return tool.Tool{ //nolint:wrapcheck // names the program
		Name: "sops", Folder: "sops", Version: Version, Package: "github.com/getsops/sops/v3/cmd/sops", Takes: "a few minutes",
	}.Build(ctx, log)
}
