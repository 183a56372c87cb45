# What a replica of rolemint may do where Transit signs (`keys.signer.vaultTransit`, mount `transit`). It cannot export, back up, import,
# rotate or trim a key, nor list them. `+` stands for one step of a path, so these rules are for all keys of the mount: give rolemint a
# mount of its own. (A rule that ends in `rolemint-*` would also match everything below such a key, its `/rotate` for one.)
path "transit/keys/+" {
  capabilities = ["create", "read", "update", "delete"]
}
path "transit/keys/+/config" {
  capabilities       = ["update"]
  allowed_parameters = { "deletion_allowed" = [] } # set right before the key is deleted
}
path "transit/sign/+" {
  capabilities = ["update"]
}
path "transit/sign/+/+" {
  capabilities = ["update"]
}

# Where the KEK of `rolemint-kek.hcl` is in the same mount, it is not for signing and not to be deleted.
path "transit/keys/rolemint-kek" {
  capabilities = ["deny"]
}
path "transit/keys/rolemint-kek/config" {
  capabilities = ["deny"]
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
