package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// Errors for errors.Is.
var (
	// ErrEmpty says that there are no references in a repository.
	ErrEmpty = errors.New("git repository is empty")

	// ErrDenied says that the server does not let us in.
	ErrDenied = errors.New("authentication required or credentials are wrong")
)

// Errors that mean something to users.
var (
	errNoRepo  = errors.New("repository not found")
	errNotGit  = errors.New("the server does not speak the smart protocol of Git")
	errMissing = errors.New("the server hung up without an answer")
)

// maxAdvertised bounds an advertisement: some hundred thousand references.
const maxAdvertised = 64 << 20

// readAdvertised reads the references that a server advertises.
func readAdvertised(r io.Reader) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()

	err := adv.Decode(r)

	var said *pktline.ErrorLine

	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, ErrEmpty
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, errMissing
	case errors.As(err, &said):
		return nil, serverSays(said.Text)
	case err != nil:
		return nil, fmt.Errorf("read references: %w", err)
	}

	return adv, nil
}

// SaidError is an error in the words of the server.
type SaidError struct{ text string }

// Error implements error.
func (e *SaidError) Error() string { return fmt.Sprintf("the server says %q", e.text) }

// serverSays makes the words of a server fit for an error.
func serverSays(text string) error {
	const most = 300

	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}

	return &SaidError{text: text}
}

// encode writes a request as it is sent.
func encode(req *packp.UploadRequest) ([]byte, error) {
	var b bytes.Buffer
	if err := req.Encode(&b); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}

	if err := pktline.NewEncoder(&b).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}

	return b.Bytes(), nil
}

// openPack reads the answer to a request up to the pack, and returns the pack. The answer is closed with it, or on an error.
func openPack(req *packp.UploadRequest, answer io.ReadCloser) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(answer, 64<<10)

	if err := skipToPack(req, r); err != nil {
		_ = answer.Close()

		return nil, err
	}

	pack := &packReader{Reader: r, Closer: answer}

	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack.Reader = &packData{r: sideband.NewDemuxer(sideband.Sideband64k, r)}
	case req.Capabilities.Supports(capability.Sideband):
		pack.Reader = &packData{r: sideband.NewDemuxer(sideband.Sideband, r)}
	}

	return pack, nil
}

// packReader is a pack in the answer that it came with.
type packReader struct {
	io.Reader
	io.Closer
}

func skipToPack(req *packp.UploadRequest, r *bufio.Reader) error {
	if !req.Depth.IsZero() {
		if err := skipShallow(r); err != nil {
			return err
		}
	}

	return skipAcknowledgements(r)
}

// packData is what comes through a side band. The other bands carry progress and errors.
type packData struct{ r io.Reader }

// Read implements io.Reader.
func (p *packData) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if text, ok := strings.CutPrefix(fmt.Sprint(err), "unexpected error: "); err != nil && ok {
		err = serverSays(text)
	}

	return n, err
}

// maxLines bounds what comes before a pack.
const maxLines = 100_000

// skipShallow skips the lines that say where the history is cut off.
func skipShallow(r *bufio.Reader) error {
	for range maxLines {
		line, err := readLine(r)
		if err != nil {
			return err
		}

		if line == nil {
			return nil
		}

		if !bytes.HasPrefix(line, []byte("shallow ")) && !bytes.HasPrefix(line, []byte("unshallow ")) {
			return fmt.Errorf("unexpected answer %.40q", line)
		}
	}

	return errors.New("the answer has no end")
}

// skipAcknowledgements skips the lines that say which objects we have in common, which are none.
func skipAcknowledgements(r *bufio.Reader) error {
	for n := range maxLines {
		ahead, err := r.Peek(7)
		if err != nil {
			return fmt.Errorf("read answer: %w", unexpected(err))
		}

		if word := string(ahead[4:]); n > 0 && word != "NAK" && word != "ACK" {
			return nil
		}

		line, err := readLine(r)
		if err != nil {
			return err
		}

		if !bytes.HasPrefix(line, []byte("NAK")) && !bytes.HasPrefix(line, []byte("ACK")) {
			return fmt.Errorf("unexpected answer %.40q", line)
		}
	}

	return errors.New("the answer has no end")
}

// readLine reads a packet line. A flush packet is nil.
func readLine(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read answer: %w", unexpected(err))
	}

	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil || n > 0 && n < uint64(len(head)) {
		return nil, fmt.Errorf("unexpected answer %q", head)
	}

	if n == 0 {
		return nil, nil
	}

	line := make([]byte, n-uint64(len(head)))
	if _, err := io.ReadFull(r, line); err != nil {
		return nil, fmt.Errorf("read answer: %w", unexpected(err))
	}

	if text, ok := bytes.CutPrefix(line, []byte("ERR ")); ok {
		return nil, serverSays(string(text))
	}

	return line, nil
}

// unexpected turns the end of an answer into an error that says that it came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}

	return err
}
