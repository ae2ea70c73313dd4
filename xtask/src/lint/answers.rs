//! What an operation may answer: one success, errors in their one form, and files, which may be answered in part.
use super::*;

impl Lint<'_> {
    pub(super) fn responses(&mut self, at: &str, op: &Value) {
        let at = format!("{at}.responses");
        let Some(map) = op["responses"].as_object() else { return self.say(&at, "missing") };
        let mut successes = 0;
        for (code, r) in map {
            let here = format!("{at}.{code}");
            match code.as_str() {
                "200" | "201" | "202" | "204" => {
                    successes += 1;
                    self.success(&here, code, op, r);
                }
                "206" | "304" if is_file(op) => self.file_in_part(&here, code, r),
                "4XX" | "5XX" => {
                    if r["$ref"] != "#/components/responses/Error"
                        || r.as_object().is_some_and(|m| m.len() > 1)
                    {
                        self.say(&here, "must be {$ref: common.yaml#/components/responses/Error}");
                    }
                }
                _ => self.say(
                    &here,
                    "only one of 200, 201, 202, 204 (a file: 206 and 304 too), and then 4XX and 5XX",
                ),
            }
        }
        if successes != 1 {
            self.say(&at, format!("exactly one success, not {successes}"));
        }
        for code in ["4XX", "5XX"] {
            if !map.contains_key(code) {
                self.say(&at, format!("{code} is missing"));
            }
        }
    }

    /// A file may be answered in part, and not at all to a caller who has it already.
    fn file_in_part(&mut self, at: &str, code: &str, r: &Value) {
        let Some(m) = r.as_object() else { return self.say(at, "not a map") };
        self.keys(at, m, &["description", "content"]);
        if text(r, "description").is_empty() {
            self.say(at, "description is missing");
        }
        let content = r["content"].as_object().cloned().unwrap_or_default();
        if content.len() != usize::from(code == "206") {
            self.say(at, "206 has one media type, 304 no content");
        }
        for (media, c) in &content {
            self.binary(&format!("{at}.content.{media}"), &c["schema"]);
        }
    }

    fn success(&mut self, at: &str, code: &str, op: &Value, r: &Value) {
        let Some(m) = r.as_object() else { return self.say(at, "not a map") };
        self.keys(at, m, &["description", "content"]);
        if text(r, "description").is_empty() {
            self.say(at, "description is missing");
        }
        let content = r["content"].as_object().cloned().unwrap_or_default();
        if content.is_empty() != (code == "204") {
            self.say(at, "204 has no content, every other success has one");
        }
        if content.len() > 1 {
            self.say(at, "one media type");
        }
        for (media, c) in &content {
            let at = format!("{at}.content.{media}");
            if let Some(m) = c.as_object() {
                self.keys(&at, m, &["schema"]);
            }
            let schema = &c["schema"];
            if media == "application/json" {
                self.only_ref(&at, schema);
                self.wrapped(&at, text(op, "operationId"), schema);
            } else {
                self.binary(&at, schema);
                if !matches!(r"^[a-z]+/[a-z0-9.+*-]+$|^\*/\*$", media) {
                    self.say(&at, "not a media type");
                }
                if code != "200" {
                    self.say(&at, "a file is answered with 200");
                }
            }
        }
    }

    fn wrapped(&mut self, at: &str, id: &str, schema: &Value) {
        let name = text(schema, "$ref").rsplit('/').next().unwrap_or_default();
        let fields: Vec<&str> = deref(&self.b.doc, schema)["properties"]
            .as_object()
            .map(|m| m.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let wanted: &[&str] = if BARE.contains(&id) {
            return;
        } else if name.ends_with("Envelope") || name.ends_with("List") {
            &["data", "meta"]
        } else if name.ends_with("Page") {
            &["data", "pagination", "meta"]
        } else {
            return self.say(at, format!("{name}: an answer is an …Envelope, …Page or …List"));
        };
        let same: BTreeSet<_> = fields.iter().collect();
        if same != wanted.iter().collect() {
            self.say(at, format!("{name} must have the fields {}", wanted.join(", ")));
        }
    }
}

/// Whether an operation answers something that is no JSON.
fn is_file(op: &Value) -> bool {
    let content = op["responses"]["200"]["content"].as_object();
    content.is_some_and(|c| c.keys().all(|media| media != "application/json"))
}
