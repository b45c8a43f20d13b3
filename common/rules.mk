PKGS_common := libsodium libseccomp libcrypto libsystemd
