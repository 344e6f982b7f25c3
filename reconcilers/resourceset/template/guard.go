package template

import (
	"slices"
	"strconv"
	"text/template/parse"
)

// The names of the functions that are put into templates.
const (
	ours      = "_"
	tickName  = ours + "tick"
	enterName = ours + "enter"
	leaveName = ours + "leave"
	guardName = ours + "guard"
)

// guardList puts guards into what is executed together: into the rounds of loops, and behind what is printed. It returns about
// how many bytes all of that has, and false if it is nested too deep.
func guardList(list *parse.ListNode, depth int) (size int, ok bool) {
	if list == nil {
		return 0, true
	}

	for _, node := range list.Nodes {
		n, ok := guardNode(node, depth+1)
		if !ok {
			return 0, false
		}

		size += n
	}

	return size, depth < maxNested
}

func guardNode(node parse.Node, depth int) (size int, ok bool) {
	switch n := node.(type) {
	case *parse.ActionNode:
		size = len(n.Pipe.String())
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, command(n.Pos, guardName))
		}

		return size, true
	case *parse.IfNode:
		return guardBranches(&n.BranchNode, depth)
	case *parse.WithNode:
		return guardBranches(&n.BranchNode, depth)
	case *parse.RangeNode:
		size, ok = guardBranches(&n.BranchNode, depth)
		n.List.Nodes = slices.Insert(n.List.Nodes, 0, action(n.Pos, tickName, number(size)))

		return size, ok
	default:
		return len(node.String()), true
	}
}

func guardBranches(n *parse.BranchNode, depth int) (size int, ok bool) {
	size, ok = guardList(n.List, depth)
	if !ok {
		return 0, false
	}

	other, ok := guardList(n.ElseList, depth)

	return len(n.Pipe.String()) + size + other, ok
}

func command(at parse.Pos, name string, args ...parse.Node) *parse.CommandNode {
	words := slices.Concat([]parse.Node{parse.NewIdentifier(name).SetPos(at)}, args)

	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: at, Args: words}
}

func action(at parse.Pos, name string, args ...parse.Node) parse.Node {
	return &parse.ActionNode{
		NodeType: parse.NodeAction, Pos: at,
		Pipe: &parse.PipeNode{NodeType: parse.NodePipe, Pos: at, Cmds: []*parse.CommandNode{command(at, name, args...)}},
	}
}

func number(n int) parse.Node {
	return &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}
