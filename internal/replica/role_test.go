package replica

import "testing"

func TestRoleTable(t *testing.T) {
	golden(t, "roles.golden", []byte(RoleTable()))
}
