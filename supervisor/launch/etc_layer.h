/* SPDX-License-Identifier: MIT */
#pragma once

#include "supervisor/launch/etc.h"

/* Puts a whiteout into layer for every entry below the directory etc that etc_is_hidden() names. */
int etc_hide_secrets(int etc, int layer, struct fault *f) MUST_CHECK;
