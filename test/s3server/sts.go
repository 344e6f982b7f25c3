package s3server

import (
	"encoding/xml"
	"net/http"
	"time"
)

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

type stsCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

// serveSTS gives temporary keys to who knows the password of a user.
// Source: https://github.com/minio/minio/blob/master/docs/sts/ldap.md
func (s *Server) serveSTS(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.PostForm.Get("Version") != "2011-06-15" ||
		r.PostForm.Get("Action") != "AssumeRoleWithLDAPIdentity" {
		refuseSTS(w, http.StatusBadRequest, "InvalidParameterValue", "An invalid or out-of-range value was supplied.")

		return
	}

	password, ok := s.options.LDAP[r.PostForm.Get("LDAPUsername")]
	if !ok || password == "" || password != r.PostForm.Get("LDAPPassword") {
		refuseSTS(w, http.StatusBadRequest, "InvalidParameterValue", "LDAP server error: LDAP auth failed")

		return
	}

	WriteKeys(w, "AssumeRoleWithLDAPIdentity", s.keys.Issue(lifetime))
}

// WriteKeys answers a request for temporary keys, of the action given, as a security token service does.
func WriteKeys(w http.ResponseWriter, action string, t Temporary) {
	type result struct {
		XMLName     xml.Name
		Credentials stsCredentials
	}

	w.Header().Set("Content-Type", "text/xml")
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name
		Result  result
	}{
		XMLName: xml.Name{Space: stsNamespace, Local: action + "Response"},
		Result: result{
			XMLName: xml.Name{Local: action + "Result"},
			Credentials: stsCredentials{
				AccessKeyID: t.AccessKey, SecretAccessKey: t.SecretKey, SessionToken: t.SessionToken,
				Expiration: t.Expiration.Format(time.RFC3339),
			},
		},
	})
}

// RefuseKeys answers a request for temporary keys with an error, as a security token service does.
func RefuseKeys(w http.ResponseWriter, code, message string) {
	refuseSTS(w, http.StatusForbidden, code, message)
}

func refuseSTS(w http.ResponseWriter, status int, code, message string) {
	type details struct{ Type, Code, Message string }

	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name
		Error   details
	}{
		XMLName: xml.Name{Space: stsNamespace, Local: "ErrorResponse"},
		Error:   details{Type: "Sender", Code: code, Message: message},
	})
}
