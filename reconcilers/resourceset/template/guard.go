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
	smallName = ours + "small"
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
		guardPipe(n.Pipe)

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
	case *parse.TemplateNode:
		size = len(n.String())
		guardPipe(n.Pipe)

		return size, true
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

	size += len(n.Pipe.String())
	guardPipe(n.Pipe)

	return size + other, ok
}

// guardPipe lets only small values into the methods of values, which cannot be metered: those of times format texts.
func guardPipe(pipe *parse.PipeNode) {
	if pipe == nil {
		return
	}

	var guarded []*parse.CommandNode

	for i, c := range pipe.Cmds {
		method := isMethod(c.Args[0])
		if method && i > 0 {
			guarded = append(guarded, command(c.Pos, smallName))
		}

		for j, arg := range c.Args {
			guardArgument(arg)

			if method && j > 0 && !isLiteral(arg) {
				small := command(arg.Position(), smallName, arg)
				c.Args[j] = &parse.PipeNode{NodeType: parse.NodePipe, Pos: arg.Position(), Cmds: []*parse.CommandNode{small}}
			}
		}

		guarded = append(guarded, c)
	}

	pipe.Cmds = guarded
}

func guardArgument(arg parse.Node) {
	switch n := arg.(type) {
	case *parse.PipeNode:
		guardPipe(n)
	case *parse.ChainNode:
		guardArgument(n.Node)
	}
}

func isMethod(node parse.Node) bool {
	switch node.(type) {
	case *parse.FieldNode, *parse.ChainNode, *parse.VariableNode:
		return true
	default:
		return false
	}
}

// isLiteral tells whether a node is a value of the template itself, which is converted to what the method takes.
func isLiteral(node parse.Node) bool {
	switch n := node.(type) {
	case *parse.NumberNode, *parse.BoolNode, *parse.NilNode:
		return true
	case *parse.StringNode:
		return len(n.Text) <= maxSmall
	default:
		return false
	}
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
