/* SPDX-License-Identifier: MIT */
/* What cellctl key asks for: `cellos-signerd --keys VERB ...`, started for this one thing, with the keys'
 * directory as its only fd. It is the same program as the daemon so that no other one ever holds a secret,
 * and it is confined the same way before it makes a key or signs. */
#pragma once

#include "common/priv/role.h"

extern const struct role key_admin_role;

/* argv[1] is "--keys". An exit status. */
int key_admin_main(int argc, char **argv);
