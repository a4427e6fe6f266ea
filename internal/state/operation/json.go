package operation

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
)

// JSON is op for people to read: slot inspect. Its form may change with any release.
func JSON(op *Operation) json.RawMessage {
	b, err := protojson.Marshal(op)
	if err != nil {
		return nil // what cannot be shown is left out
	}
	return b
}
