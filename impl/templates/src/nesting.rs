//! Owns how deep a template may nest before it is compiled.
//!
//! The compiler of templates goes down one call for each operator of a chain and each `elif` of a condition, however
//! many there are. A template of nothing but `1 + 1 + …` would use up the stack and end the whole server, so such
//! chains are counted on the tokens, before anything looks at them.

use minijinja::machinery::{Token, tokenize};

use crate::problem::{Part, Problem};

/// Most tokens between `{{` and `}}`, or `{%` and `%}`.
const MAX_TOKENS: usize = 400;
/// Most `elif` of a template.
const MAX_ELIFS: usize = 100;

/// The place where a template is too deep to be compiled. What cannot be read is left to the compiler to refuse.
pub(crate) fn problem(part: Part, source: &str) -> Option<Problem> {
    let mut tokens = 0;
    let mut elifs = 0;
    for token in tokenize(source, false, Default::default()) {
        let (token, span) = token.ok()?;
        let at = |message| Some(Problem::at_offset(part, source, span.start_offset as usize, message));
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => tokens = 0,
            Token::Ident("elif") => elifs += 1,
            _ => {}
        }
        tokens += 1;
        if tokens > MAX_TOKENS {
            return at("this expression is too long");
        }
        if elifs > MAX_ELIFS {
            return at("too many elif");
        }
    }
    None
}
