//! Passwords: what is refused, and Argon2id.

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use kernel::{Error, Result, Secret, Validator};
use std::collections::HashSet;
use std::sync::{Condvar, LazyLock, Mutex, OnceLock, PoisonError};
use unicode_normalization::UnicodeNormalization;

const MIN_CHARS: usize = 12;
/// Hashing a megabyte costs the server more than the client.
const MAX_CHARS: usize = 256;
/// Parts of a name or an address shorter than this are in too many good passwords.
const MIN_TELLING_CHARS: usize = 4;

/// 19 MiB, 2 passes, 1 lane: the least that OWASP's password storage cheat sheet advises, about
/// 25 ms of one core. More would make a flood of logins a cheaper attack on us.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes of one process at once: 38 MiB of a function's 512. Lambda gives an instance one request at
/// a time, so only servers and tests ever wait here.
const AT_ONCE: usize = 2;

static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("../data/common-passwords.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// A password, in the one form of Unicode that every keyboard's input comes to (NFKC).
#[derive(Clone, Debug)]
pub struct Password(Secret);

impl Password {
    /// A password that somebody chooses: 12 to 256 characters, not a common one, and not made of
    /// what is known of the person. `known` is the e-mail address and the names around it.
    pub fn choose(validator: &mut Validator, path: &str, input: &str, known: &[&str]) -> Self {
        let password: String = input.nfkc().collect();
        let chars = password.chars().count();
        if chars < MIN_CHARS {
            validator.reject(path, "too_short", "A password has at least 12 characters.");
        } else if chars > MAX_CHARS {
            validator.reject(path, "too_long", "A password has at most 256 characters.");
        } else if is_common(&password) {
            validator.reject(
                path,
                "too_common",
                "This password is among the first that an attacker tries; choose another.",
            );
        } else if tells(&password, known) {
            validator.reject(
                path,
                "too_personal",
                "A password must not contain your e-mail address or your company's name.",
            );
        }
        Self(Secret::new(password))
    }

    /// A password that somebody claims to have.
    #[must_use]
    pub fn claim(input: &str) -> Self {
        Self(Secret::new(input.nfkc().collect()))
    }

    /// Its Argon2id hash with a new salt, as a PHC string.
    ///
    /// # Errors
    /// Internal, when the system has no randomness.
    pub fn hash(&self) -> Result<String> {
        let _turn = Turn::take();
        let hash = argon2()?
            .hash_password(self.0.expose().as_bytes())
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(hash.to_string())
    }

    /// Whether it is the password of this hash. Without a hash (nobody has this address, or the
    /// user was only invited) the same work is done, so that time does not tell.
    ///
    /// It keeps the thread for as long as the hash takes: a Lambda instance has one request at a
    /// time, and elsewhere at most [`AT_ONCE`] are under way.
    ///
    /// # Errors
    /// Internal, when the hash is malformed.
    pub fn verify(&self, hash: Option<&str>) -> Result<bool> {
        let stored = hash.map_or_else(nobodys_hash, |hash| Ok(hash.to_owned()))?;
        let _turn = Turn::take();
        match argon2()?.verify_password(self.0.expose().as_bytes(), stored.as_str()) {
            Ok(()) => Ok(hash.is_some()),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }
}

/// One of [`AT_ONCE`] places to hash in, until it is dropped. Whoever holds one only computes, so
/// waiting for it can't be waiting for oneself.
struct Turn;

static FREE: Mutex<usize> = Mutex::new(AT_ONCE);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A hash in today's parameters that no password is accepted for. It is made when first needed, by
/// the process's first login without a stored hash, which then takes twice as long once.
fn nobodys_hash() -> Result<String> {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return Ok(hash.clone());
    }
    let hash = Password::claim("the password of nobody").hash()?;
    Ok(HASH.get_or_init(|| hash).clone())
}

/// Makes ready what [`Password::verify`] needs without a hash, so that the first look-up of an
/// unknown address takes no longer than the next.
///
/// # Errors
/// Internal, when the system has no randomness.
pub fn warm_up() -> Result<()> {
    LazyLock::force(&COMMON);
    nobodys_hash().map(drop)
}

/// On the list as it is, or once the decoration that people add to reach a length is taken off:
/// case, digits and signs at the ends, letters written as digits, repetition.
fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let core = |text: &str| text.trim_matches(|c: char| !c.is_alphabetic()).to_owned();
    let bare = core(&lower).replace(|c: char| !c.is_alphanumeric(), "");
    let forms = [
        unleet(&lower),
        unleet(&core(&lower)),
        core(&lower),
        bare,
        lower.clone(),
    ];
    forms
        .iter()
        .any(|form| COMMON.contains(form.as_str()) || COMMON.contains(once(form)))
        || once(&lower).chars().count() < MIN_CHARS / 2
        || is_run(&lower)
}

/// Letters for the digits and signs that stand for them.
fn unleet(text: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    text.chars().map(letter).collect()
}

/// The shortest text that, repeated, makes this one (cut off at the end or not).
fn once(text: &str) -> &str {
    let repeats = |&period: &usize| {
        text.is_char_boundary(period) && text.as_bytes()[period..] == text.as_bytes()[..text.len() - period]
    };
    (1..=text.len() / 2)
        .find(repeats)
        .map_or(text, |period| &text[..period])
}

/// Neighbours all the way: 1234567890123, abcdefghijklm, and backwards.
fn is_run(text: &str) -> bool {
    let next = |a: u8, b: u8| b == a.wrapping_add(1) || (a == b'9' && b == b'0') || (a == b'z' && b == b'a');
    let bytes = text.as_bytes();
    bytes.windows(2).all(|pair| next(pair[0], pair[1])) || bytes.windows(2).all(|pair| next(pair[1], pair[0]))
}

/// Whether it contains the address, its local part, or a name, in any case and spacing.
fn tells(password: &str, known: &[&str]) -> bool {
    let squeeze = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
    let password = squeeze(password);
    let local_parts = known
        .iter()
        .filter_map(|text| text.split_once('@'))
        .map(|(local, _)| local);
    local_parts
        .chain(known.iter().copied())
        .map(squeeze)
        .any(|part| part.chars().count() >= MIN_TELLING_CHARS && password.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(input: &str) -> Option<String> {
        let mut validator = Validator::default();
        Password::choose(
            &mut validator,
            "password",
            input,
            &["mona.ali@example.com", "Nile Homes"],
        );
        let error = validator.finish().err()?;
        Some(error.details()?["fields"][0]["code"].as_str()?.to_owned())
    }

    #[test]
    fn argon2id_agrees_with_the_reference_implementation() {
        // argon2-cffi 25.1.0 (the reference C code): hash_secret(b"correct horse battery", b"somesaltsomesalt", 2, 19456, 1, 32, Type.ID)
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$/HetJC6LZ4lnwgLB+wJSS2a9bFu2Kq4HxwNWzoJq2qU";
        assert!(
            Password::claim("correct horse battery")
                .verify(Some(hash))
                .unwrap()
        );
        assert!(
            !Password::claim("correct horse batterz")
                .verify(Some(hash))
                .unwrap()
        );
    }

    /// RFC 9106, section 5.3.
    #[test]
    fn argon2id_agrees_with_the_rfc() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0; 32];
        argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        let expected = [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
            0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
        ];
        assert_eq!(tag, expected);
    }

    /// Prints what a hash costs: `cargo nextest run --workspace --release --run-ignored all -E
    /// 'test(what_a_hash_costs)' --no-capture`. docs/PERFORMANCE.md has the figures.
    #[test]
    #[ignore = "measures"]
    fn what_a_hash_costs() {
        for (memory_kib, passes) in [
            (7 * 1024, 5),
            (12 * 1024, 3),
            (19 * 1024, 2),
            (46 * 1024, 1),
            (64 * 1024, 3),
        ] {
            let params = Params::new(memory_kib, passes, LANES, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let mut times: Vec<_> = (0..15)
                .map(|_| {
                    let began = std::time::Instant::now();
                    argon2
                        .hash_password_into(b"violet tram lantern", &[2; 16], &mut [0; 32])
                        .unwrap();
                    began.elapsed()
                })
                .collect();
            times.sort();
            println!(
                "{memory_kib} KiB, {passes} passes: median {:?}, worst {:?}",
                times[7], times[14]
            );
        }
    }

    #[test]
    fn at_most_two_hashes_are_under_way() {
        let turns: Vec<Turn> = (0..AT_ONCE).map(|_| Turn::take()).collect();
        let (sender, receiver) = std::sync::mpsc::channel();
        let third = std::thread::spawn(move || {
            let _turn = Turn::take();
            sender.send(()).unwrap();
        });
        let wait = std::time::Duration::from_millis(100);
        assert!(receiver.recv_timeout(wait).is_err(), "it waits for a turn");
        drop(turns);
        receiver.recv().unwrap();
        third.join().unwrap();
    }

    #[test]
    fn a_hash_says_its_parameters_and_its_salt_is_new_each_time() {
        let password = Password::claim("violet tram 88 lantern");
        let (one, two) = (password.hash().unwrap(), password.hash().unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(password.verify(Some(&one)).unwrap() && password.verify(Some(&two)).unwrap());
        assert!(
            !Password::claim("violet tram 88 lanterm")
                .verify(Some(&one))
                .unwrap()
        );
        assert!(!Password::claim("the password of nobody").verify(None).unwrap());
        assert!(password.verify(Some("not a hash")).is_err());
    }

    #[test]
    fn the_same_password_typed_on_another_keyboard_is_the_same() {
        let composed = Password::claim("caf\u{e9} au lait 2 fois");
        let decomposed = Password::claim("cafe\u{301} au lait 2 fois");
        assert!(decomposed.verify(Some(&composed.hash().unwrap())).unwrap());
    }

    #[test]
    fn short_long_common_and_personal_ones_are_refused() {
        for (input, code) in [
            ("elevenchars", "too_short"),
            ("ككككككككككك", "too_short"),
            (&"violet tram ".repeat(30), "too_long"),
            ("password1234", "too_common"),
            ("P@ssw0rd2024!", "too_common"),
            ("qwertyuiop123", "too_common"),
            ("passwordpassword", "too_common"),
            ("aaaaaaaaaaaa", "too_common"),
            ("abcabcabcabcab", "too_common"),
            ("123456789012", "too_common"),
            ("zyxwvutsrqponm", "too_common"),
            ("Welcome123456", "too_common"),
            ("iloveyou123!!", "too_common"),
            ("my mona.ali password", "too_personal"),
            ("monaALIxx-99-tram", "too_personal"),
            ("the NILE homes key", "too_personal"),
        ] {
            assert_eq!(refusal(input).as_deref(), Some(code), "{input}");
        }
    }

    #[test]
    fn any_composition_is_taken() {
        for input in [
            "violet tram lantern",
            "correct horse battery staple",
            "مفتاح البيت الأزرق",
            "7391 8264 0357 1",
            "tr4m-Lantern_Violet",
        ] {
            assert_eq!(refusal(input), None, "{input}");
        }
    }
}
