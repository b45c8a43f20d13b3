// SPDX-License-Identifier: MIT

// A C2SP tlog-tiles directory read by the code of the Go checksum database (golang.org/x/mod/sumdb/note and tlog):
//
//	tlogcheck VKEY DIR [-old CHECKPOINT]... [-proof TLOG-PROOF EVENT]... [-extends REQUEST OLD]...
//
// The checkpoint must open under VKEY, every entry of the bundles must be the record that the tree has at its place,
// -old checkpoints must be beginnings of the tree, -proof and -extends must hold as they stand. Prints the size.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "tlogcheck: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func expect(ok bool, format string, args ...interface{}) {
	if !ok {
		must(fmt.Errorf(format, args...), "wrong")
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	must(err, "read")
	return data
}

func hash(line string) (h tlog.Hash) {
	raw, err := base64.StdEncoding.DecodeString(line)
	must(err, line)
	expect(len(raw) == len(h), "%q is no hash", line)
	copy(h[:], raw)
	return h
}

// The signed text of a checkpoint: origin, size, root.
func open(data []byte, known note.Verifiers) (origin string, tree tlog.Tree) {
	n, err := note.Open(data, known)
	must(err, "checkpoint")
	lines := strings.Split(n.Text, "\n")
	expect(len(lines) == 4 && lines[3] == "", "a checkpoint of %d lines", len(lines))
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "size")
	return lines[0], tlog.Tree{N: size, Hash: hash(lines[2])}
}

// sumdb puts the height into the path, C2SP does not: tile/8/0/001 is tile/0/001.
type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }
func (t tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range list {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// The entries of bundle n of a tree of that size.
func bundle(dir string, n, size int64) [][]byte {
	tile := tlog.Tile{H: 8, L: 0, N: n, W: 256}
	if left := size - n*256; left < 256 {
		tile.W = int(left)
	}
	path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
	data := read(filepath.Join(dir, path))
	var entries [][]byte
	for len(data) > 0 {
		expect(len(data) >= 2, "%s ends within a length", path)
		length := int(binary.BigEndian.Uint16(data))
		expect(len(data) >= 2+length, "%s ends within an entry", path)
		entries = append(entries, data[2:2+length])
		data = data[2+length:]
	}
	expect(len(entries) == tile.W, "%s has %d entries, not %d", path, len(entries), tile.W)
	return entries
}

func checkEntries(dir string, tree tlog.Tree, hashes tlog.HashReader) {
	for n := int64(0); n*256 < tree.N; n++ {
		for i, entry := range bundle(dir, n, tree.N) {
			at := n*256 + int64(i)
			stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
			must(err, "leaf")
			expect(stored[0] == tlog.RecordHash(entry), "entry %d is not the leaf of the tile", at)
			if at%37 == 0 || at == tree.N-1 {
				proof, err := tlog.ProveRecord(tree.N, at, hashes)
				must(err, "prove")
				must(tlog.CheckRecord(proof, tree.N, tree.Hash, at, tlog.RecordHash(entry)), "record")
			}
		}
	}
}

// Text with a number in its last line before the hashes, hashes, an empty line and a checkpoint.
func split(data []byte, head string) (number int64, hashes []tlog.Hash, rest []byte) {
	text := string(data)
	expect(strings.HasPrefix(text, head), "does not begin with %q", head)
	proof, rest2, found := strings.Cut(text[len(head):], "\n\n")
	expect(found, "no checkpoint behind the hashes")
	lines := strings.Split(proof, "\n")
	number, err := strconv.ParseInt(lines[0], 10, 64)
	must(err, "number")
	for _, line := range lines[1:] {
		hashes = append(hashes, hash(line))
	}
	return number, hashes, []byte(rest2)
}

func main() {
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(os.Args[1]))))
	must(err, "vkey")
	known := note.VerifierList(verifier)
	dir := os.Args[2]
	origin, tree := open(read(filepath.Join(dir, "checkpoint")), known)
	hashes := tlog.TileHashReader(tree, tiles{dir})
	root, err := tlog.TreeHash(tree.N, hashes)
	must(err, "tree")
	expect(root == tree.Hash, "the tiles have another root")
	checkEntries(dir, tree, hashes)
	for args := os.Args[3:]; len(args) > 0; {
		switch args[0] {
		case "-old":
			o, old := open(read(args[1]), known)
			expect(o == origin, "another origin")
			proof, err := tlog.ProveTree(tree.N, old.N, hashes)
			must(err, "prove tree")
			must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash), "tree")
			args = args[2:]
		case "-proof":
			at, path, rest := split(read(args[1]), "c2sp.org/tlog-proof@v1\nindex ")
			_, of := open(rest, known)
			entry := strings.TrimSuffix(string(read(args[2])), "\n")
			must(tlog.CheckRecord(path, of.N, of.Hash, at, tlog.RecordHash([]byte(entry))), "tlog-proof")
			args = args[3:]
		case "-extends":
			at, path, rest := split(read(args[1]), "old ")
			_, of := open(rest, known)
			_, old := open(read(args[2]), known)
			expect(at == old.N, "the request is from %d, not %d", at, old.N)
			must(tlog.CheckTree(path, of.N, of.Hash, old.N, old.Hash), "request")
			args = args[3:]
		default:
			expect(false, "%q", args[0])
		}
	}
	fmt.Println(tree.N)
}
