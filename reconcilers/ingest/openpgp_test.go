package ingest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// number is one of so many bits as OpenPGP writes it.
func number(bits int) []byte {
	data := make([]byte, 2+(bits+7)/8)
	binary.BigEndian.PutUint16(data, uint16(bits))

	for i := range data[2:] {
		data[2+i] = 0xff >> ((8 - bits%8) % 8)
		if i > 0 {
			data[2+i] = 0xff
		}
	}

	return data
}

func keyPacket(tag, version, algorithm byte, private bool, bits ...int) []byte {
	body := []byte{version, 0, 0, 0, 0, algorithm}

	for i, n := range bits {
		if private && i == len(bits)-1 {
			body = append(body, 0)
		}

		body = append(body, number(n)...)
	}

	head := binary.BigEndian.AppendUint32([]byte{0xc0 | tag, 0xff}, uint32(len(body)))

	return append(head, body...)
}

// TestLongNumbersAreRefused holds that no Secret holds a worker for minutes with the arithmetic of its keys: it is refused before.
func TestLongNumbersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		keys   []byte
		want   string
	}{
		"DSA":           {"an exponent of 60000 bits takes minutes", keyPacket(6, 4, 17, false, 60_000, 60_000, 60_000, 60_000), "more than 4096 bits"},
		"Order":         {"and so do many signatures with a long one", keyPacket(6, 4, 17, false, 4096, 4096, 4096, 4096), "more than 512 bits"},
		"Private":       {"the private number is checked", keyPacket(5, 4, 17, true, 2048, 256, 2048, 2048, 60_000), "more than 4096 bits"},
		"ElGamal":       {"by arithmetic, too", keyPacket(7, 4, 16, true, 2048, 2048, 2048, 60_000), "more than 4096 bits"},
		"Hidden":        {"also behind something that is none", append([]byte{0}, keyPacket(5, 4, 16, true, 20_000, 19_999, 19_998, 19_998)...), "malformed or not supported"},
		"ManyOfElGamal": {"each takes a second", bytes.Repeat(keyPacket(14, 4, 16, false, 2048, 2048, 2048), 5), "more than 4 keys of ElGamal"},
		"RSA":           {"numbers of RSA may be longer", keyPacket(6, 4, 1, false, 16_384, 17), "more than 8192 bits"},
		"Subkey":        {"wherever the key is", append(keyPacket(6, 4, 1, false, 2048, 17), keyPacket(14, 4, 3, false, 60_000, 17)...), "more than 8192 bits"},
		"OfVersionSix":  {"in each form", keyPacket(6, 6, 17, false, 2048, 256, 2048, 2048), "malformed or not supported"},
		"Signatures":    {"each is verified", bytes.Repeat([]byte{0xc2, 1, 4}, 1001), "more than 1000 OpenPGP signatures"},
		"NotTooLong":    {"the usual ones are left to the library", keyPacket(6, 4, 17, false, 3072, 256, 3072, 3072), ""},
		"CutOff":        {"which knows what is malformed", []byte{0xc6, 3, 4, 0, 0}, ""},
		"NoNumberAtAll": {"however short", []byte{0xc6, 6, 4, 0, 0, 0, 0, 17}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			keys := &ingest.OpenPGP{MaxSignatures: 1000}

			err := keys.Check(c.keys)
			if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%s: error is %v, want %q", c.reason, err, c.want)
			}
		})
	}
}
