package signing

import (
	"context"
	"io"

	"github.com/weir-dev/weir/test/tool"
)

// Build returns the path of the program cosign, which it builds if it is not in the user's cache folder. Progress goes to log.
func Build(ctx context.Context, log io.Writer) (string, error) {
	return tool.Tool{ //nolint:wrapcheck // names the program
		Name: "cosign", Folder: "signing", Version: "v2.6.5", Package: "github.com/sigstore/cosign/v2/cmd/cosign",
		Takes: "two or three minutes",
	}.Build(ctx, log)
}
