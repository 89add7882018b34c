//! What the student's script answers: variables, made plain.
//!
//! A prediction is a variable of the script (`let kernel = …`), not printed text and not a call: it can be changed
//! until the script ends, it can be looked at at the prompt, and it cannot be forged by printing. What is taken over
//! is a copy without functions, so nothing of the student's runs while goals are evaluated.

use crate::lab::exercise::{Answer, Shape};
use crate::script::args::{Address, describe};
use rhai::{Array, Dynamic, ImmutableString, Map, Scope};
use std::collections::BTreeMap;

/// Characters of the longest text that is taken over.
const TEXT: usize = 4096;
/// Items of the longest array or map, and how deep they may nest.
const ITEMS: usize = 4096;
const DEPTH: usize = 4;

/// Values by name, or why there is none.
pub type Answers = BTreeMap<String, Result<Dynamic, String>>;

/// Takes the asked variables from a script's scope.
pub fn take(asked: &[Answer], scope: &Scope) -> Answers {
    asked.iter().map(|answer| (answer.name.clone(), one(answer, scope))).collect()
}

fn one(answer: &Answer, scope: &Scope) -> Result<Dynamic, String> {
    let name = &answer.name;
    let wanted = answer.is.name();
    let Some(value) = scope.get(name) else {
        return Err(format!("Your script sets no variable `{name}`: let {name} = …; ({})", answer.what));
    };
    if value.is_unit() {
        return Err(format!("`{name}` is not answered yet: {}.", answer.what));
    }
    let fits = match answer.is {
        Shape::Int => value.is_int(),
        Shape::Float => value.is_float() || value.is_int(),
        Shape::Bool => value.is_bool(),
        Shape::String => value.is_string(),
        Shape::Addr => value.is::<Address>() || value.is_int(),
        Shape::Array => value.is_array(),
        Shape::Map => value.is_map(),
    };
    if !fits {
        return Err(format!("`{name}` should be {wanted}, and is {}.", clip(&describe(value))));
    }
    let taken = plain(value, DEPTH).ok_or_else(|| {
        format!("`{name}` should be plain: numbers, texts, arrays and maps of them, not too many.")
    })?;
    match (answer.is, taken.as_int()) {
        (Shape::Float, Ok(n)) => Ok(Dynamic::from(n as f64)),
        _ => Ok(taken),
    }
}

/// Enough of a value to recognise it.
fn clip(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

/// A copy that holds nothing but data.
fn plain(value: &Dynamic, depth: usize) -> Option<Dynamic> {
    let value = value.clone().flatten();
    if value.is_int() || value.is_float() || value.is_bool() || value.is_char() || value.is::<Address>() {
        return Some(value);
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return (text.len() <= TEXT).then(|| text.clone().into());
    }
    let deeper = depth.checked_sub(1)?;
    if let Some(array) = value.read_lock::<Array>() {
        let items = (array.len() <= ITEMS).then_some(array.iter())?;
        return items.map(|item| plain(item, deeper)).collect::<Option<Array>>().map(Dynamic::from);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let items = (map.len() <= ITEMS).then_some(map.iter())?;
        let items = items.map(|(key, item)| Some((key.clone(), plain(item, deeper)?)));
        return items.collect::<Option<Map>>().map(Dynamic::from);
    }
    None
}

impl Shape {
    /// With its article.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Int => "an int",
            Shape::Float => "a float",
            Shape::Bool => "true or false",
            Shape::String => "a string",
            Shape::Addr => "an address",
            Shape::Array => "an array",
            Shape::Map => "a map",
        }
    }
}

/// The last line of a script that gives a variable its value: its number, from 1, and its text.
pub fn line_of<'a>(script: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let assigns = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + name.len()..].trim_start();
            let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
            let operator = ["=", "+=", "-=", "*=", "/=", "%="].iter().any(|op| after.starts_with(op));
            !before.is_some_and(word) && operator && !after.starts_with("==")
        })
    };
    script.lines().enumerate().filter(|(_, line)| assigns(line)).last().map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(is: Shape) -> Vec<Answer> {
        vec![Answer { name: "n".into(), is, what: "pages".into() }]
    }

    fn taken(is: Shape, value: Dynamic) -> Result<Dynamic, String> {
        let mut scope = Scope::new();
        scope.push_dynamic("n", value);
        take(&asked(is), &scope).remove("n").unwrap()
    }

    #[test]
    fn an_answer_has_the_asked_type() {
        assert_eq!(taken(Shape::Int, 7.into()).unwrap().as_int(), Ok(7));
        assert_eq!(taken(Shape::Float, 7.into()).unwrap().as_float(), Ok(7.0));
        assert_eq!(taken(Shape::Int, Dynamic::UNIT).unwrap_err(), "`n` is not answered yet: pages.");
        assert!(taken(Shape::Int, "7".into()).unwrap_err().starts_with("`n` should be an int, and is"));
    }

    #[test]
    fn functions_are_not_taken_over() {
        let closure = Dynamic::from(rhai::FnPtr::new("f").unwrap());
        assert!(taken(Shape::Array, Dynamic::from(vec![closure])).is_err());
    }

    #[test]
    fn the_deciding_line_is_the_last_that_assigns() {
        let script = "let min = 1;\nlet n = 2; // n = 9\nif n == 3 {\n    n += 1;\n}\nmax_n = 4;\nm.n = 5;";
        assert_eq!(line_of(script, "n"), Some((4, "    n += 1;")));
        assert_eq!(line_of(script, "absent"), None);
    }
}
