package operation

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "rewrite the golden file")

const golden = "testdata/operations.golden"

// TestEncodingsAreGolden: journals hold these octets for ever.
func TestEncodingsAreGolden(t *testing.T) {
	var got strings.Builder
	for _, op := range samples() {
		b, err := Encode(op)
		if err != nil {
			t.Fatalf("%T: %v", op.Kind, err)
		}
		fmt.Fprintf(&got, "%s %x\n", strings.TrimPrefix(fmt.Sprintf("%T", op.Kind), "*operation.Operation_"), b)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("encodings are not those of %s; got\n%s", golden, got.String())
	}
	lines := strings.Split(strings.TrimSpace(string(want)), "\n")
	for i, op := range samples() {
		kind, digits, _ := strings.Cut(lines[i], " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b)
		if err != nil || !proto.Equal(back, op) {
			t.Errorf("%s: decoded to %v, %v", kind, back, err)
		}
	}
}

func TestThereIsASampleOfEachKind(t *testing.T) {
	kinds := (&Operation{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	if got := len(samples()); got != kinds.Len() {
		t.Errorf("%d samples of %d kinds", got, kinds.Len())
	}
}

// TestUnknownFieldsAreRefusedAtEveryDepth puts an unknown field into each message
// of each sample in turn, found by the descriptor.
func TestUnknownFieldsAreRefusedAtEveryDepth(t *testing.T) {
	reached := map[protoreflect.FullName]bool{}
	for i, op := range samples() {
		for n := 0; ; n++ {
			changed, left := proto.Clone(op).ProtoReflect(), n
			target := nthMessage(changed, &left)
			if target == nil {
				break
			}
			reached[target.Descriptor().FullName()] = true
			target.SetUnknown(protoreflect.RawFields{0xf8, 0x7f, 0x01}) // field 2047, varint 1
			b, err := proto.Marshal(changed.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(b); !errors.Is(err, cluster.ErrNewer) {
				t.Errorf("sample %d, %s: %v", i, target.Descriptor().FullName(), err)
			}
		}
	}
	all := (&Operation{}).ProtoReflect().Descriptor().ParentFile().Messages()
	for i := range all.Len() {
		if name := all.Get(i).FullName(); !reached[name] {
			t.Errorf("no sample holds a %s", name)
		}
	}
}

// nthMessage returns the n-th message of m, itself first, depth first.
func nthMessage(m protoreflect.Message, n *int) (found protoreflect.Message) {
	if *n == 0 {
		return m
	}
	*n--
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil || !m.Has(f) {
			continue
		}
		if !f.IsList() {
			if found = nthMessage(m.Mutable(f).Message(), n); found != nil {
				return found
			}
			continue
		}
		list := m.Mutable(f).List()
		for j := range list.Len() {
			if found = nthMessage(list.Get(j).Message(), n); found != nil {
				return found
			}
		}
	}
	return nil
}

func TestShapelessOperationsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Operation){
		"no kind":               func(op *Operation) { op.Kind = nil },
		"no level":              func(op *Operation) { op.Level = 0 },
		"no account":            func(op *Operation) { op.Account = nil },
		"short session":         func(op *Operation) { op.Id.Session = []byte{1} },
		"short actor session":   func(op *Operation) { op.Actor.Session = []byte{1} },
		"short mailbox":         func(op *Operation) { op.GetAppend().Mailbox = []byte{1} },
		"no messages":           func(op *Operation) { op.GetAppend().Messages = nil },
		"short email id":        func(op *Operation) { op.GetAppend().Messages[0].EmailId = nil },
		"odd references":        func(op *Operation) { op.GetAppend().Messages[0].References = []byte{1} },
		"no body":               func(op *Operation) { op.GetAppend().Messages[0].Body = nil },
		"no chunks":             func(op *Operation) { op.GetAppend().Messages[0].Body.Chunks = nil },
		"body larger than it":   func(op *Operation) { op.GetAppend().Messages[0].Body.Size++ },
		"chunk nowhere":         func(op *Operation) { op.GetAppend().Messages[0].Body.Chunks[0].Back = 0 },
		"chunk at two places":   func(op *Operation) { op.GetAppend().Messages[0].Body.Chunks[0].Lsn = 5 },
		"short hash":            func(op *Operation) { op.GetAppend().Messages[0].Body.Sha256 = id(1) },
		"unknown mode":          func(op *Operation) { op.GetStore().Mode = 3 },
		"short user":            func(op *Operation) { op.User = []byte{1} },
		"unknown mode of ACL":   func(op *Operation) { op.GetSetAcl().Mode = 4 },
		"short grantee":         func(op *Operation) { op.GetSetAcl().User = []byte{1} },
		"UID 0":                 func(op *Operation) { op.GetStore().Uids.Bounds[0] = 0 },
		"UIDs without an end":   func(op *Operation) { op.GetStore().Uids.Bounds = []uint32{1} },
		"touching ranges":       func(op *Operation) { op.GetStore().Uids.Bounds = []uint32{1, 2, 3, 4} },
		"UIDs backwards":        func(op *Operation) { op.GetStore().Uids.Bounds = []uint32{5, 6, 1, 2} },
		"no UIDs":               func(op *Operation) { op.GetStore().Uids = nil },
		"no recipients":         func(op *Operation) { op.GetDeliver().Recipients = nil },
		"short content key":     func(op *Operation) { op.GetDeliver().Recipients[0].ContentKey = id(1) },
		"long prefix":           func(op *Operation) { op.GetDeliver().Recipients[0].Prefix = make([]byte, MaxPrefix+1) },
		"short recipient":       func(op *Operation) { op.GetDeliver().Recipients[0].Account = nil },
		"short transaction":     func(op *Operation) { op.GetDeliver().Transaction = nil },
		"account without INBOX": func(op *Operation) { op.GetCreateAccount().Mailboxes = nil },
		"short settled":         func(op *Operation) { op.GetSettleDeliveries().InDoubt[0].Account = nil },
	} {
		tried := 0
		for _, op := range samples() {
			if !spoiled(op, spoil) {
				continue
			}
			tried++
			if _, err := Encode(op); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: encode: %v", name, err)
			}
			b, err := proto.Marshal(op)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: decode: %v", name, err)
			}
			break
		}
		if tried == 0 {
			t.Errorf("%s: tried on no sample", name)
		}
	}
}

// spoiled reports whether op is of the kind that spoil is about.
func spoiled(op *Operation, spoil func(*Operation)) (ok bool) {
	defer func() { ok = recover() == nil }()
	spoil(op)
	return true
}

func FuzzDecode(f *testing.F) {
	for _, op := range samples() {
		b, err := Encode(op)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(op)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		back, err := Decode(again)
		if err != nil || !proto.Equal(op, back) {
			t.Fatalf("encoded and decoded again: %v, %v", back, err)
		}
	})
}

func TestJSONHidesAccessKeys(t *testing.T) {
	shown := 0
	for _, op := range samples() {
		before := proto.CloneOf(op)
		text := string(JSON(op))
		if s := op.GetSetAccess(); s != nil {
			shown++
			if !strings.Contains(text, `"key":"`+base64.StdEncoding.EncodeToString(make([]byte, keySize))) {
				t.Errorf("got %s", text)
			}
		}
		if !proto.Equal(op, before) {
			t.Errorf("%T was changed", op.Kind)
		}
	}
	if shown == 0 {
		t.Error("no sample with a key")
	}
}
