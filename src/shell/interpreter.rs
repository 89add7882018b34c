//! Typed Rhai: run it, keep its functions and variables, show its value, put its errors into words.

use crate::script::args::Address;
use crate::script::bench::Bench;
use crate::script::catalogue::{self, Entry};
use crate::script::complaint::{self, Complaint, Sources};
use crate::script::table::Table;
use crate::shell::render;
use crate::shell::theme::Theme;
use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, LexError, Map, Module, ParseErrorType, Scope, Token};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How many items of an array are shown.
const SHOWN: usize = 100;

/// Scripts by the name of their file, typed lines as `line 3`.
#[derive(Default)]
struct Texts {
    texts: BTreeMap<String, String>,
    /// Where each function of a script is written.
    homes: BTreeMap<String, String>,
}

impl Sources for Texts {
    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    fn home(&self, function: &str) -> Option<&str> {
        self.homes.get(function).map(String::as_str)
    }

    fn shown<'a>(&self, name: &'a str) -> &'a str {
        if name.starts_with("line ") { "" } else { name }
    }
}

/// The engine with what was typed so far.
pub struct Interpreter {
    engine: Engine,
    bench: Bench,
    /// Variables typed so far.
    pub scope: Scope<'static>,
    functions: AST,
    texts: Texts,
    /// Everything written about everything.
    pub entries: Rc<[Entry]>,
    lines: usize,
}

impl Interpreter {
    /// An interpreter for this bench.
    pub fn new(bench: &Bench) -> Interpreter {
        Interpreter {
            engine: crate::script::engine(bench),
            bench: bench.clone(),
            scope: Scope::new(),
            functions: AST::empty(),
            texts: Texts::default(),
            entries: catalogue::everything().into(),
            lines: 0,
        }
    }

    /// The engine, to register more.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives scripts their arguments: the array `ARGS`, seen inside functions, too.
    pub fn set_args(&mut self, args: &[String]) {
        let args: Array = args.iter().map(|arg| arg.as_str().into()).collect();
        let mut module = Module::new();
        module.set_var("ARGS", args);
        self.engine.register_global_module(module.into());
    }

    /// Runs a script of a file: an empty name is a typed line.
    pub fn run(&mut self, name: &str, text: &str) -> Result<Dynamic, Complaint> {
        // Functions outlive their line, so an error in one must find the text it was typed in.
        let name = if name.is_empty() {
            self.lines += 1;
            format!("line {}", self.lines)
        } else {
            name.to_string()
        };
        let result = self.eval(&name, text);
        self.texts.texts.insert(name.clone(), text.to_string());
        result.map_err(|error| {
            let variables: Vec<String> = self.scope.iter_raw().map(|(name, ..)| name.to_string()).collect();
            complaint::complain(&error, &name, &self.texts, &self.engine, &self.entries, &variables)
        })
    }

    fn eval(&mut self, name: &str, text: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut ast = self.engine.compile_with_scope(&self.scope, text)?;
        ast.set_source(name);
        for function in ast.iter_functions() {
            self.texts.homes.insert(function.name.to_string(), name.to_string());
        }
        let ast = self.functions.merge(&ast);
        // What was defined stays defined, even when the rest of the line fails.
        self.functions = ast.clone_functions_only();
        let changes = self.bench.borrow().changes;
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &ast);
        if result.is_ok() && self.bench.borrow().changes > changes {
            // Whoever worked with a machine that is dead by now hears its last words; to look at it is no work.
            crate::script::task::alive(&self.bench.borrow())?;
        }
        if self.scope.len() > 256 {
            self.scope = self.scope.clone_visible();
        }
        result
    }

    /// Is this a script without a mistake of syntax?
    pub fn compiles(&self, text: &str) -> bool {
        self.engine.compile_with_scope(&self.scope, text).is_ok()
    }

    /// Is this a name of the language, or of what was typed so far?
    pub fn knows(&self, word: &str) -> bool {
        let is_word = || {
            let mut tokens = self.engine.lex([&word]).0;
            !matches!(tokens.next(), Some((Token::Identifier(_), _)))
        };
        self.scope.contains(word)
            || self.entries.iter().any(|e| e.name == word)
            || self.functions.iter_functions().any(|f| f.name == word)
            || is_word()
    }

    /// Does the input end in the middle of something?
    pub fn is_incomplete(&self, text: &str) -> bool {
        let Err(error) = self.engine.compile_with_scope(&self.scope, text) else { return false };
        use ParseErrorType as E;
        match error.err_type() {
            E::UnexpectedEOF => true,
            // Only back-tick strings may span lines.
            E::BadInput(LexError::UnterminatedString) => text.matches('`').count() % 2 == 1,
            _ if error.position().is_none() => true,
            E::MissingToken(..)
            | E::ExprExpected(..)
            | E::VariableExpected
            | E::FnMissingName
            | E::FnMissingParams(_)
            | E::FnMissingBody(_)
            | E::MissingSymbol(_) => self.open_brackets(text) > 0,
            _ => false,
        }
    }

    fn open_brackets(&self, text: &str) -> i32 {
        let mut depth = 0;
        for (token, _) in self.engine.lex([&text]).0 {
            match token {
                Token::LeftBrace | Token::LeftParen | Token::LeftBracket | Token::MapStart => depth += 1,
                Token::RightBrace | Token::RightParen | Token::RightBracket => depth -= 1,
                // The iterator repeats these for ever.
                Token::EOF | Token::LexError(_) => break,
                _ => {}
            }
        }
        depth
    }

    /// The value as the prompt shows it; nothing for `()`.
    pub fn show(&self, value: &Dynamic, theme: Theme) -> String {
        if value.is_unit() {
            return String::new();
        }
        if let Some(table) = value.read_lock::<Table>() {
            return render::draw(&table, theme);
        }
        if let Some(array) = value.read_lock::<Array>() {
            // A list of handles or rows is read line by line, a list of numbers in one.
            if array.iter().any(|item| !is_plain(item)) {
                let mut lines: Vec<String> = array.iter().take(SHOWN).map(|item| self.text(item)).collect();
                if array.len() > SHOWN {
                    lines.push(theme.faint(&format!("… and {} more", array.len() - SHOWN)));
                }
                return lines.join("\n") + "\n";
            }
            if array.len() > SHOWN {
                let start: Array = array.iter().take(SHOWN).cloned().collect();
                let text = self.text(&start.into());
                return format!("{}, … and {} more]\n", text.trim_end_matches(']'), array.len() - SHOWN);
            }
        }
        let text = if value.is_string() { value.to_string() } else { self.text(value) };
        if text.ends_with('\n') { text } else { text + "\n" }
    }

    /// The engine's own `to_debug`, which reaches into arrays and maps.
    fn text(&self, value: &Dynamic) -> String {
        let mut scope = Scope::new();
        scope.push_dynamic("it", value.clone());
        let text = self.engine.eval_with_scope::<String>(&mut scope, "it.to_debug()");
        text.unwrap_or_else(|_| catalogue::type_name(value.type_name()))
    }

    /// The value as one JSON document.
    pub fn json(&self, value: &Dynamic) -> serde_json::Value {
        if let Some(table) = value.read_lock::<Table>() {
            return render::json(&table);
        }
        serde_json::json!({ "schema": 1, "value": self.json_value(value) })
    }

    fn json_value(&self, value: &Dynamic) -> serde_json::Value {
        if let Some(table) = value.read_lock::<Table>() {
            return table.json()["rows"].clone();
        }
        if let Some(array) = value.read_lock::<Array>() {
            return array.iter().map(|item| self.json_value(item)).collect();
        }
        if let Some(map) = value.read_lock::<Map>() {
            return map
                .iter()
                .map(|(key, item)| (key.to_string(), self.json_value(item)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        if let Some(address) = value.read_lock::<Address>() {
            return address.to_string().into();
        }
        if let Ok(n) = value.as_int() {
            return n.into();
        }
        if let Ok(yes) = value.as_bool() {
            return yes.into();
        }
        if let Ok(x) = value.as_float() {
            return x.into();
        }
        match value.read_lock::<rhai::ImmutableString>() {
            Some(text) => text.as_str().into(),
            None if value.is_unit() => serde_json::Value::Null,
            None => self.text(value).into(),
        }
    }
}

fn is_plain(value: &Dynamic) -> bool {
    value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_char()
        || value.is_unit()
        || value.is::<Address>()
}
