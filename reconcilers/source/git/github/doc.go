// Package github gets tokens for Git from GitHub, with the key of a GitHub App: the App proves who it is with a JSON web token,
// and gets a token for one of its installations, with which repositories are cloned. Tokens are kept until shortly before they
// expire.
//
// It knows only what it takes to get a token; what the token is good for is decided by GitHub.
package github
