package sops

import (
	"errors"
	"slices"
)

// combine puts a data key together from parts that Shamir's scheme has split it into, over GF(2^8) with the polynomial of AES,
// byte by byte. The last byte of each part is the point at which it was evaluated. Parts that do not belong together, or
// too few of them, yield a key that decrypts nothing.
func combine(parts [][]byte) ([]byte, error) {
	size := len(parts[0]) - 1
	points := make([]byte, len(parts))

	for i, part := range parts {
		if len(part) != size+1 || size < 1 {
			return nil, errors.New("the parts of the data key are of different lengths, or empty")
		}

		points[i] = part[size]

		if points[i] == 0 {
			return nil, errors.New("a part of the data key is malformed")
		}

		if slices.Contains(points[:i], points[i]) {
			return nil, errors.New("two parts of the data key are the same one")
		}
	}

	secret := make([]byte, size)

	for i, part := range parts {
		weight := lagrange(points, i)
		for j := range secret {
			secret[j] ^= multiply(part[j], weight)
		}
	}

	return secret, nil
}

// lagrange returns what the value at a point counts for the value at zero.
func lagrange(points []byte, i int) byte {
	weight := byte(1)

	for j, p := range points {
		if j != i {
			weight = multiply(weight, multiply(p, inverse(p^points[i])))
		}
	}

	return weight
}

// multiply multiplies in GF(2^8), in the same time whatever the factors are.
func multiply(a, b byte) byte {
	const polynomial = 0x1b

	var product byte

	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ polynomial&-(a>>7)
		b >>= 1
	}

	return product
}

// inverse returns 1/a, which is a to the power of 254.
func inverse(a byte) byte {
	result := byte(1)

	for range 7 {
		a = multiply(a, a)
		result = multiply(result, a)
	}

	return result
}
