//! Text as people type it, made comparable.

use unicode_normalization::UnicodeNormalization;

/// Words of a name for search: NFKC, lower case, Arabic letters folded (alef forms, taa marbuta,
/// alef maqsura, hamza carriers), diacritics and tatweel dropped. At most 16 words of 64 characters.
#[must_use]
pub fn search_words(text: &str) -> Vec<String> {
    let folded: String = text.nfkd().filter_map(fold).collect::<String>().nfc().collect();
    let mut words: Vec<String> = folded
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(64).collect())
        .take(16)
        .collect();
    words.sort();
    words.dedup();
    words
}

/// The words joined, for sorting by name.
#[must_use]
pub fn sort_key(text: &str) -> String {
    text.nfkd()
        .filter_map(fold)
        .flat_map(char::to_lowercase)
        .take(200)
        .collect()
}

fn fold(c: char) -> Option<char> {
    match c {
        // combining marks: Latin, Arabic harakat and the hamza and madda that NFKD splits off; tatweel
        '\u{300}'..='\u{36f}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{640}' => None,
        'أ' | 'إ' | 'آ' | 'ٱ' => Some('ا'),
        'ة' => Some('ه'),
        'ى' | 'ئ' => Some('ي'),
        'ؤ' => Some('و'),
        other => Some(other),
    }
}

/// Replaces what Postgres text can't hold (NUL) by U+FFFD.
#[must_use]
pub fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_found_by_each_other() {
        assert_eq!(search_words("أحمد"), search_words("احمد"));
        assert_eq!(search_words("فاطِمَة"), search_words("فاطمه"));
        assert_eq!(search_words("منى"), search_words("مني"));
        assert_eq!(search_words("José  ÁLVAREZ"), ["alvarez", "jose"]);
        assert_eq!(search_words("  --  "), Vec::<String>::new());
    }

    #[test]
    fn nul_is_replaced() {
        assert_eq!(without_nul("a\0b".to_owned()), "a\u{fffd}b");
    }
}
