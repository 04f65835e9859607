//! Password hashes as RabbitMQ stores and exports them: `base64(salt ++ digest(salt ++ password))`, four bytes of salt. PURE.
//!
//! The algorithm goes by RabbitMQ's name. MD5 is there to let users in whose hash was imported from an old broker; new
//! hashes are SHA-256. Where the salt comes from is not decided here: see [`super::hash_password`].

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// How many bytes of salt stand before the digest.
pub const SALT_BYTES: usize = 4;

/// The algorithm of new hashes, by RabbitMQ's name.
pub const DEFAULT_ALGORITHM: &str = DEFAULT.name();
/// The same.
pub const DEFAULT: Algorithm = Algorithm::Sha256;

/// A way to hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    Sha256,
    Sha512,
    Md5,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5];

    /// RabbitMQ's name.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "rabbit_password_hashing_sha256",
            Algorithm::Sha512 => "rabbit_password_hashing_sha512",
            Algorithm::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm of that name.
    /// # Errors
    /// [`Error::UnknownAlgorithm`].
    pub fn find(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| Error::UnknownAlgorithm { name: name.into() })
    }

    /// The algorithm that made a hash, by the hash's length: that of new hashes where it tells nothing.
    pub fn of_hash(hash: &str) -> Self {
        let bytes = BASE64.decode(hash).map_or(0, |raw| raw.len().saturating_sub(SALT_BYTES));
        Self::ALL.into_iter().find(|algorithm| algorithm.digest_bytes() == bytes).unwrap_or(Algorithm::Sha256)
    }

    fn digest(self, salt: [u8; SALT_BYTES], password: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(salt: [u8; SALT_BYTES], password: &[u8]) -> Vec<u8> {
            D::new().chain_update(salt).chain_update(password).finalize().to_vec()
        }
        match self {
            Algorithm::Sha256 => of::<Sha256>(salt, password),
            Algorithm::Sha512 => of::<Sha512>(salt, password),
            Algorithm::Md5 => of::<Md5>(salt, password),
        }
    }

    fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
            Algorithm::Md5 => 16,
        }
    }
}

/// Why a hash is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No algorithm goes by that name.
    #[error("unknown password hashing algorithm '{name}'")]
    UnknownAlgorithm {
        /// What was given.
        name: String,
    },
    /// Not base64, or not as long as the algorithm's hashes are.
    #[error("password hash is not base64 of a salt and a digest of {name}")]
    Malformed {
        /// The algorithm.
        name: &'static str,
    },
}

/// The hash of a password.
pub fn hash(algorithm: Algorithm, salt: [u8; SALT_BYTES], password: &[u8]) -> String {
    BASE64.encode([&salt[..], &algorithm.digest(salt, password)].concat())
}

/// Whether `hash` is one that [`verify`] can ever accept, or empty: to be asked before a hash is taken in.
/// # Errors
/// [`Error::UnknownAlgorithm`], [`Error::Malformed`].
pub fn check(hash: &str, algorithm: &str) -> Result<(), Error> {
    let algorithm = Algorithm::find(algorithm)?;
    if hash.is_empty() { Ok(()) } else { parse(hash, algorithm).map(|_| ()) }
}

/// Whether `password` is the one hashed. Takes the same time wherever the two differ.
///
/// No password is right for an empty hash (a user without password), the empty one never is.
pub fn verify(hash: &str, algorithm: &str, password: &[u8]) -> bool {
    let parsed = Algorithm::find(algorithm).and_then(|algorithm| Ok((algorithm, parse(hash, algorithm)?)));
    let Ok((algorithm, (salt, expected))) = parsed else {
        verify_nothing(password);
        return false;
    };
    let is_same: bool = algorithm.digest(salt, password).ct_eq(&expected).into();
    is_same && !password.is_empty()
}

/// Takes as long as [`verify`] does, where there is nothing to compare with.
pub fn verify_nothing(password: &[u8]) {
    std::hint::black_box(Algorithm::Sha256.digest([0; SALT_BYTES], password).ct_eq(&[0; 32]));
}

fn parse(hash: &str, algorithm: Algorithm) -> Result<([u8; SALT_BYTES], Vec<u8>), Error> {
    let malformed = || Error::Malformed { name: algorithm.name() };
    let bytes = BASE64.decode(hash).map_err(|_| malformed())?;
    match bytes.split_first_chunk() {
        Some((salt, digest)) if digest.len() == algorithm.digest_bytes() => Ok((*salt, digest.to_vec())),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_exported_by_rabbitmq_lets_its_user_in() {
        let guest = "+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+";
        assert!(verify(guest, DEFAULT_ALGORITHM, b"guest"));
        assert!(!verify(guest, DEFAULT_ALGORITHM, b"Guest"));
        assert!(!verify(guest, Algorithm::Sha512.name(), b"guest"));
    }

    #[test]
    fn every_algorithm_verifies_its_own_hashes_alone() {
        for algorithm in Algorithm::ALL {
            let hash = hash(algorithm, [1, 2, 3, 4], "pässword".as_bytes());
            assert_eq!(check(&hash, algorithm.name()), Ok(()));
            for other in Algorithm::ALL {
                assert_eq!(verify(&hash, other.name(), "pässword".as_bytes()), algorithm == other);
            }
        }
        // The example of RabbitMQ's documentation of the algorithm.
        assert_eq!(
            hash(Algorithm::Sha256, [0x90, 0x8d, 0xc6, 0x0a], b"test12"),
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
        );
    }

    #[test]
    fn a_hash_tells_by_its_length_which_algorithm_made_it() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::of_hash(&hash(algorithm, [1, 2, 3, 4], b"p")), algorithm);
        }
        for none in ["", "?", "AAAA"] {
            assert_eq!(Algorithm::of_hash(none).name(), DEFAULT_ALGORITHM);
        }
    }

    #[test]
    fn empty_passwords_and_empty_hashes_never_verify() {
        let of_empty = hash(Algorithm::Sha256, [0; 4], b"");
        assert!(!verify(&of_empty, DEFAULT_ALGORITHM, b""));
        assert!(!verify("", DEFAULT_ALGORITHM, b""));
        assert!(!verify("", DEFAULT_ALGORITHM, b"x"));
        assert_eq!(check("", DEFAULT_ALGORITHM), Ok(()));
    }

    #[test]
    fn what_is_no_hash_is_refused_on_import_and_verifies_nothing() {
        let malformed = Err(Error::Malformed { name: DEFAULT_ALGORITHM });
        for hash in ["?", "AAAA", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PORAAAA"] {
            assert_eq!(check(hash, DEFAULT_ALGORITHM), malformed);
            assert!(!verify(hash, DEFAULT_ALGORITHM, b"x"));
        }
        assert_eq!(check("", "rot13"), Err(Error::UnknownAlgorithm { name: "rot13".into() }));
    }
}
