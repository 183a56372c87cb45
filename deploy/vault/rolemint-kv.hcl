# What a replica of rolemint may do where private halves are kept in KV version 2 (`keys.store.vault`, mount `rolemint`, path `keys`).
# Nothing else, and no listing: the key ring in the database says which keys there are.
path "rolemint/data/keys/+/+" {
  capabilities = ["create", "read"] # a kid is never overwritten, so no "update"
}
path "rolemint/metadata/keys/+/+" {
  capabilities = ["delete"] # deleting the metadata destroys every version
}

# Its own token: the part of the policy `default` that it needs.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
