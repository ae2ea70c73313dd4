use super::*;
use serde_json::json;
use std::path::{Path, PathBuf};

fn reader(language: Language) -> Reader {
    Reader { language, timezone: chrono_tz::Europe::Amsterdam }
}

fn values(language: Language, parameters: &Value) -> Values<'_> {
    Values { parameters, locale: Locale::new(language), timezone: chrono_tz::Europe::Amsterdam }
}

#[test]
fn every_key_has_words_in_every_language_and_they_name_the_same() {
    let mut seen = BTreeMap::new();
    for (file, text) in FILES {
        let words: BTreeMap<String, Words> = toml::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}"));
        for (key, words) in words {
            assert!(
                key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{file}: {key}"
            );
            let codes: Vec<&str> = Language::ALL.iter().map(|l| l.as_str()).collect();
            for part in [&words.title, &words.body] {
                let mut known: Vec<&str> = part.keys().map(String::as_str).collect();
                known.sort_by_key(|code| codes.iter().position(|c| c == code));
                assert_eq!(known, codes, "{file}: languages of {key}");
                let english: Vec<&str> = names(&part["en"]).collect();
                for (language, text) in part {
                    assert_eq!(names(text).collect::<Vec<_>>(), english, "{file}: {key} in {language}");
                    assert!(!text.trim().is_empty(), "{file}: {key} in {language} is empty");
                    let plain =
                        names(text).fold(text.clone(), |t, name| t.replace(&format!("{{{name}}}"), ""));
                    assert!(!plain.contains(['{', '}']), "{file}: {key} in {language}: a brace is left");
                }
            }
            if let Some(other) = seen.insert(key.clone(), file) {
                panic!("{key} stands in {other} and in {file}");
            }
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), WORDS.keys().collect::<Vec<_>>());
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_key_that_is_told_has_words() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut told = BTreeSet::new();
    for file in files.iter().filter(|f| !f.ends_with("notifications/words/tests.rs")) {
        let text = std::fs::read_to_string(file).expect("a file");
        for notice in text.split("Notice {").skip(1) {
            // The literal of the struct ends long before another one begins; what is computed is checked when it is told.
            let literal = notice.split_once("message: \"").and_then(|(before, after)| {
                (before.len() < 600 && !before.contains("Notice {")).then_some(after)
            });
            told.extend(literal.and_then(|after| after.split_once('"')).map(|(key, _)| key.to_owned()));
        }
    }
    assert!(told.contains("einvoice_fallback") && told.contains("vat_number_invalid"), "{told:?}");
    told.extend(scaicontrol_domain::quota::Threshold::ALL.iter().map(|t| t.as_str().to_owned()));
    let silent: Vec<_> = told.iter().filter(|key| !WORDS.contains_key(*key)).collect();
    assert!(silent.is_empty(), "no words for {silent:?}");
}

#[test]
fn values_are_written_as_the_language_writes_them() {
    let parameters = json!({
        "amount_cents": 123_456, "currency": "EUR", "due_date": "2026-03-01", "failed_at": "2026-02-28T23:30:00Z",
        "used_quantity": "1234567.50", "days": 3, "number": "SCAI-2026-000001",
    });
    let text = "{number}: {amount_cents}, {due_date}, {failed_at}, {used_quantity}, {days}";
    let filled = |language| {
        values(language, &parameters).fill(text).expect("filled").replace(['\u{a0}', '\u{202f}'], " ")
    };
    assert_eq!(
        filled(Language::En),
        "SCAI-2026-000001: €1,234.56, 1 March 2026, 1 March 2026, 1,234,567.5, 3"
    );
    assert_eq!(
        filled(Language::De),
        "SCAI-2026-000001: 1.234,56 €, 1. März 2026, 1. März 2026, 1.234.567,5, 3"
    );
    assert_eq!(
        filled(Language::Nl),
        "SCAI-2026-000001: € 1.234,56, 1 maart 2026, 1 maart 2026, 1.234.567,5, 3"
    );
}

#[test]
fn what_is_not_what_its_name_says_stays_as_it_is() {
    let parameters = json!({"amount_cents": 5, "due_date": "soon", "failed_at": "", "used_quantity": "many", "nothing": null, "list": []});
    let filled = |text| values(Language::En, &parameters).fill(text);
    assert_eq!(
        filled("{amount_cents} {due_date} {failed_at} {used_quantity}").as_deref(),
        Some("5 soon  many")
    );
    assert_eq!(filled("{nothing}"), None);
    assert_eq!(filled("{list}"), None);
    assert_eq!(filled("{unknown}"), None);
    assert_eq!(filled("{open").as_deref(), Some("{open"));
}

#[test]
fn nothing_that_is_missing_fails_a_reader() {
    let said = say("no_such_key", &json!({}), reader(Language::Fr));
    assert_eq!(said, Said { title: "no_such_key".into(), body: String::new() });
    assert!(check("no_such_key", &json!({})).is_err());
    // Words that are there, and values that are not.
    let said = say("vat_number_invalid", &json!({}), reader(Language::Fr));
    assert_eq!(said, Said { title: "vat_number_invalid".into(), body: String::new() });
    assert!(check("vat_number_invalid", &json!({})).is_err());
    assert!(check("vat_number_invalid", &json!({"vat_number": null})).is_err());
    let parameters = json!({"vat_number": "NL123456782B90"});
    assert_eq!(check("vat_number_invalid", &parameters), Ok(()));
    let said = say("vat_number_invalid", &parameters, reader(Language::Nl));
    assert_eq!(said.title, "Btw-nummer NL123456782B90 is niet geregistreerd");
}

#[test]
fn what_is_too_long_is_cut() {
    let parameters = json!({"vat_number": "ü".repeat(5_000)});
    let said = say("vat_number_invalid", &parameters, reader(Language::De));
    assert_eq!(said.title.chars().count(), TITLE_MAX);
    assert!(said.title.ends_with('…'));
    assert_eq!(cut("abc".into(), 3), "abc");
    assert_eq!(cut("abcd".into(), 3), "ab…");
}
