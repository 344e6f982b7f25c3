package build

import (
	"context"
	"fmt"
	"testing"
)

// Every operator of the substitution, and what is none.
func TestOperators(t *testing.T) {
	const (
		notSet = `variable not set (strict mode): "U"`
		open   = "missing closing brace"
	)

	cases := map[string]struct{ in, want, err string }{
		"Default":            {in: "${U:-d}", want: "d"},
		"DefaultOfEmpty":     {in: "${E:-d}", want: "d"},
		"DefaultNotUsed":     {in: "${X:-d}", want: "abcd"},
		"Assigned":           {in: "${U:=d}", want: "d"},
		"AssignedOfEmpty":    {in: "${E:=d}", want: "d"},
		"AssignedPlain":      {in: "${U=d}", want: "d"},
		"AssignedVariable":   {in: "${U:=${X}}", want: "abcd"},
		"DefaultNested":      {in: "${U:-${V:-w}}", want: "w"},
		"Empty":              {in: "${E}x", want: "x"},
		"Length":             {in: "${#X}x", want: "4x"},
		"LengthOfEmpty":      {in: "${#E}x", want: "0x"},
		"UpperFirst":         {in: "${X^}", want: "Abcd"},
		"Upper":              {in: "${X^^}", want: "ABCD"},
		"LowerFirst":         {in: "${Y,}", want: "aBCD"},
		"Lower":              {in: "${Y,,}", want: "abcd"},
		"Offset":             {in: "${X:1}", want: "bcd"},
		"OffsetLength":       {in: "${X:1:2}", want: "bc"},
		"OffsetBehind":       {in: "${X:9}x", want: "x"},
		"LengthBehind":       {in: "${X:1:99}", want: "bcd"},
		"ShortestPrefix":     {in: "${P#*/}", want: "b/c"},
		"LongestPrefix":      {in: "${P##*/}", want: "c"},
		"ShortestSuffix":     {in: "${P%/*}", want: "a/b"},
		"LongestSuffix":      {in: "${P%%/*}", want: "a"},
		"ReplaceFirst":       {in: "${R/b/y}", want: "ayxab"},
		"ReplaceAll":         {in: "${R//b/y}", want: "ayxay"},
		"ReplacePrefix":      {in: "${R/#ab/z}", want: "zxab"},
		"ReplaceSuffix":      {in: "${R/%ab/z}", want: "abxz"},
		"ReplaceOtherSuffix": {in: "${R/%bb/z}", want: "abxab"},
		"EscapedSlash":       {in: `${P/\\/b/x}`, want: "ax/c"},
		"NoBraces":           {in: "$X", want: "$X"},
		"Escaped":            {in: "$${X}", want: "${X}"},
		"EscapedBefore":      {in: "$$${X}", want: "$abcd"},
		"NotSet":             {in: "${U}", err: notSet},
		"NotSetUpper":        {in: "${U^^}", err: notSet},
		"NotSetLength":       {in: "${#U}", err: notSet},
		"NotSetReplace":      {in: "${U/x/y}", err: notSet},
		"NotSetPrefix":       {in: "${U#x}", err: notSet},
		"NotSetOffset":       {in: "${U:1}", err: notSet},
		"Open":               {in: "${X", err: open},
		"NoName":             {in: "${}", err: "unable to parse variable name"},
		"Spaces":             {in: "${ X }", err: "unable to parse variable name"},
		"Dot":                {in: "${X.Y}", err: open},
		"Plus":               {in: "${X+a}", err: open},
		"EmptyOffset":        {in: "${X::1}", err: "unable to parse substitution within function"},
	}

	b := New(Options{})
	variables := []variable{{"X", "abcd", false}, {"Y", "ABCD", false}, {"P", "a/b/c", false}, {"E", "", false}, {"R", "abxab", false}}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set, err := b.Build(context.Background(), Request{
				Dir: files{"a.yaml": configMap("a") + "data: {k: \"" + tc.in + "\"}\n"}.write(t), Variables: variablesOf(t, variables...),
			})

			if tc.err != "" {
				wantError(t, tc.in, err, "post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: ", tc.err)

				return
			}

			if err != nil {
				t.Fatalf("%s: %v", tc.in, err)
			}

			if got := set.Objects[0].Object["data"]; fmt.Sprint(got) != "map[k:"+tc.want+"]" {
				t.Errorf("%s: %v, want %q", tc.in, got, tc.want)
			}
		})
	}
}
