/* SPDX-License-Identifier: MIT */
#pragma once

#include "supervisor/launch/etc.h"

#define ETC_COPY_BYTES_MAX (12u << 20) /* of all files; the stage has room for it */

/* For hosts where no overlay can be mounted over /etc (in a container single files of it are mounts of their
 * own, which may not be uncovered): turns the layer that etc_build_layer() made into a whole /etc, by copying
 * what it does not hide or replace, and removes the whiteouts. */
int etc_complete_layer(int etc, int layer, struct fault *f) MUST_CHECK;
