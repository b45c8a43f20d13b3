PKGS_common := libsodium libseccomp libcrypto libsystemd libzstd
