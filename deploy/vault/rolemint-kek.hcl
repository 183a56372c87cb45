# In addition, where private halves in KV are wrapped by a Transit key (`keys.store.vault.wrapWith`, key `rolemint-kek` of the mount
# `transit`): two rights must leak before a key can be read, and Vault's audit log has a line for each use of both.
# "update" without "create": a key that is not there is not made by encrypting with it.
path "transit/encrypt/rolemint-kek" {
  capabilities = ["update"]
}
path "transit/decrypt/rolemint-kek" {
  capabilities = ["update"]
}
