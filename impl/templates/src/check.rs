//! Owns the check of a template before it is stored: it compiles, names only what exists, and loads nothing from
//! outside.
//!
//! The check follows what is known about each expression. `lines` is a list of lines, so `line.amout` in a loop over
//! it is refused; what a macro is given is not known, and is left to the rendering, which fails at the place.

use std::collections::HashMap;

use minijinja::machinery::ast::{CallArg, Expr, Macro, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::{Value, context};

use crate::comment_tags;
use crate::describe::Shape;
use crate::engine::{ENVIRONMENT, Template, shape};
use crate::kind::Kind;
use crate::limits;
use crate::problem::{Part, Problem};
use crate::{nesting, resources};

/// Everything that is wrong with a template, in the order of its parts and lines; empty when it may be stored.
pub fn check(template: &Template<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    match (template.kind.is_mail(), template.subject) {
        (true, None) => problems.push(Problem::at(Part::Subject, 1, 1, "a mail needs a subject".to_owned())),
        (false, Some(_)) => {
            problems.push(Problem::at(Part::Subject, 1, 1, "a document has no subject".to_owned()));
        }
        (true, Some(subject)) => source(template.kind, Part::Subject, subject, &mut problems),
        (false, None) => {}
    }
    source(template.kind, Part::Html, template.html, &mut problems);
    if let Some(css) = template.css {
        if css.len() > Part::Css.max_bytes() {
            problems.push(Problem::too_large(Part::Css));
        } else {
            resources::css(Part::Css, css, &mut problems);
        }
    }
    problems.sort_by_key(|problem| (problem.part, problem.line, problem.column));
    problems.truncate(limits::MAX_PROBLEMS);
    problems
}

fn source(kind: Kind, part: Part, text: &str, problems: &mut Vec<Problem>) {
    if text.len() > part.max_bytes() {
        problems.push(Problem::too_large(part));
        return;
    }
    let decoded = match comment_tags::decode(text) {
        Ok(decoded) => decoded,
        Err(open) => {
            problems.push(Problem::unclosed_comment(part, text, open));
            return;
        }
    };
    if let Some(problem) = nesting::problem(part, &decoded) {
        problems.push(problem);
        return;
    }
    match parse(&decoded, part.name(), Default::default()) {
        Err(error) => problems.push(Problem::of_error(part, &decoded, &error)),
        Ok(tree) => {
            let mut analysis = Analysis::new(kind, part, &decoded);
            analysis.statement(&tree);
            problems.append(&mut analysis.problems);
        }
    }
    if part == Part::Html {
        resources::html(part, &decoded, problems);
    }
}

/// A known shape, or not known.
type Known = Option<Shape>;

struct Analysis<'a> {
    part: Part,
    source: &'a str,
    scopes: Vec<HashMap<String, Known>>,
    problems: Vec<Problem>,
}

impl<'a> Analysis<'a> {
    fn new(kind: Kind, part: Part, source: &'a str) -> Self {
        let mut root: HashMap<String, Known> =
            ENVIRONMENT.globals().map(|(name, _)| (name.to_owned(), None)).collect();
        if let Shape::Object(fields) = shape(kind) {
            root.extend(fields.iter().map(|field| (field.name.to_owned(), Some(field.shape))));
        }
        Self { part, source, scopes: vec![root], problems: Vec::new() }
    }

    fn refuse(&mut self, span: Span, message: String) {
        if self.problems.len() < limits::MAX_PROBLEMS {
            self.problems.push(Problem::at_offset(
                self.part,
                self.source,
                span.start_offset as usize,
                message,
            ));
        }
    }

    fn define(&mut self, name: &str, shape: Known) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), shape);
        }
    }

    fn lookup(&self, name: &str) -> Option<Known> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name)).copied()
    }

    fn assign(&mut self, target: &Expr<'_>, shape: Known) {
        match target {
            Expr::Var(var) => self.define(var.id, shape),
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item, None)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item, None)),
            // `namespace.field = …`
            other => {
                self.expression(other);
            }
        }
    }

    fn block(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn scoped(&mut self, run: impl FnOnce(&mut Self)) {
        self.scopes.push(HashMap::new());
        run(self);
        self.scopes.pop();
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.block(&template.children),
            Stmt::EmitRaw(_) => {}
            Stmt::EmitExpr(emit) => {
                if let Some(shape @ (Shape::Object(_) | Shape::List(_))) = self.expression(&emit.expr) {
                    let message = format!("{} cannot be printed", shape.with_article());
                    self.refuse(start(&emit.expr), message);
                }
            }
            Stmt::ForLoop(stmt) => {
                let item = self.item(&stmt.iter);
                self.scoped(|this| {
                    this.define("loop", None);
                    this.assign(&stmt.target, item);
                    stmt.filter_expr.iter().for_each(|filter| {
                        this.expression(filter);
                    });
                    this.block(&stmt.body);
                });
                self.scoped(|this| this.block(&stmt.else_body));
            }
            Stmt::IfCond(stmt) => {
                self.expression(&stmt.expr);
                // A condition is no scope: what it sets is there afterwards.
                self.block(&stmt.true_body);
                self.block(&stmt.false_body);
            }
            Stmt::WithBlock(stmt) => self.scoped(|this| {
                for (target, value) in &stmt.assignments {
                    let shape = this.expression(value);
                    this.assign(target, shape);
                }
                this.block(&stmt.body);
            }),
            Stmt::Set(stmt) => {
                let shape = self.expression(&stmt.expr);
                self.assign(&stmt.target, shape);
            }
            Stmt::SetBlock(stmt) => {
                self.scoped(|this| this.block(&stmt.body));
                stmt.filter.iter().for_each(|filter| {
                    self.expression(filter);
                });
                self.assign(&stmt.target, None);
            }
            Stmt::AutoEscape(stmt) => {
                self.refuse(stmt.enabled.span(), "escaping cannot be switched off".to_owned());
            }
            Stmt::FilterBlock(stmt) => {
                self.expression(&stmt.filter);
                self.scoped(|this| this.block(&stmt.body));
            }
            Stmt::Macro(stmt) => {
                self.define(stmt.name, None);
                self.macro_body(stmt);
            }
            Stmt::CallBlock(stmt) => {
                self.expression(&stmt.call.expr);
                self.arguments(&stmt.call.args);
                self.macro_body(&stmt.macro_decl);
            }
            Stmt::Do(stmt) => {
                self.expression(&stmt.call.expr);
                self.arguments(&stmt.call.args);
            }
        }
    }

    fn macro_body(&mut self, declaration: &Macro<'_>) {
        self.scoped(|this| {
            this.define("caller", None);
            declaration.args.iter().for_each(|argument| this.assign(argument, None));
            declaration.defaults.iter().for_each(|value| {
                this.expression(value);
            });
            this.block(&declaration.body);
        });
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => {
                    self.expression(value);
                }
            }
        }
    }

    /// What a loop over an expression goes through.
    fn item(&mut self, list: &Expr<'_>) -> Known {
        match self.expression(list) {
            Some(Shape::List(item)) => Some(*item),
            Some(shape @ (Shape::Text | Shape::Number | Shape::Flag)) => {
                self.refuse(start(list), format!("{} is no list to go through", shape.with_article()));
                None
            }
            Some(Shape::Object(_)) | None => None,
        }
    }

    /// Looks into an expression and says what its value is, where that is known.
    fn expression(&mut self, expression: &Expr<'_>) -> Known {
        match expression {
            Expr::Var(var) => match self.lookup(var.id) {
                Some(shape) => shape,
                None => {
                    self.refuse(var.span(), format!("unknown variable {:?}", var.id));
                    None
                }
            },
            Expr::Const(_) => None,
            Expr::GetAttr(get) => {
                let base = self.expression(&get.expr);
                self.member(base, get.name, start(expression))
            }
            Expr::GetItem(get) => {
                let base = self.expression(&get.expr);
                let subscript = get.subscript_expr.as_const();
                match (base, subscript.as_ref().and_then(Value::as_str)) {
                    (Some(Shape::List(item)), None) => {
                        self.expression(&get.subscript_expr);
                        Some(*item)
                    }
                    (base, Some(name)) => self.member(base, name, start(expression)),
                    (_, None) => {
                        self.expression(&get.subscript_expr);
                        None
                    }
                }
            }
            Expr::Filter(filter) => {
                let base = filter.expr.as_ref().and_then(|value| self.expression(value));
                self.arguments(&filter.args);
                if !exists("name is filter", filter.name) {
                    self.refuse(start(expression), format!("unknown filter {:?}", filter.name));
                }
                filtered(filter.name, base)
            }
            Expr::Test(test) => {
                self.expression(&test.expr);
                self.arguments(&test.args);
                if !exists("name is test", test.name) {
                    self.refuse(start(expression), format!("unknown test {:?}", test.name));
                }
                Some(Shape::Flag)
            }
            Expr::Call(call) => {
                self.call(&call.expr, start(expression));
                self.arguments(&call.args);
                None
            }
            other => {
                self.operands(other);
                None
            }
        }
    }

    fn call(&mut self, callee: &Expr<'_>, span: Span) {
        let Expr::GetAttr(get) = callee else {
            if let Some(shape) = self.expression(callee) {
                self.refuse(span, format!("{} cannot be called", shape.with_article()));
            }
            return;
        };
        if let Some(shape) = self.expression(&get.expr) {
            self.refuse(span, format!("{} has no method {:?}", shape.with_article(), get.name));
        }
    }

    fn operands(&mut self, expression: &Expr<'_>) {
        match expression {
            Expr::UnaryOp(op) => {
                self.expression(&op.expr);
            }
            Expr::BinOp(op) => {
                self.expression(&op.left);
                self.expression(&op.right);
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr);
                compare.ops.iter().for_each(|op| {
                    self.expression(&op.expr);
                });
            }
            Expr::IfExpr(condition) => {
                self.expression(&condition.test_expr);
                self.expression(&condition.true_expr);
                condition.false_expr.iter().for_each(|value| {
                    self.expression(value);
                });
            }
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|value| {
                    self.expression(value);
                });
            }
            Expr::List(list) => list.items.iter().for_each(|item| {
                self.expression(item);
            }),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| {
                self.expression(item);
            }),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|value| {
                self.expression(value);
            }),
            _ => {}
        }
    }

    fn member(&mut self, base: Known, name: &str, span: Span) -> Known {
        let shape = base?;
        let field = shape.field(name);
        if field.is_none() {
            let message = match shape {
                Shape::Object(_) => format!("unknown variable: there is no {name:?} here"),
                Shape::List(_) => format!("a list has no {name:?}: go through it with a loop"),
                _ => format!("unknown variable: {} has no {name:?}", shape.with_article()),
            };
            self.refuse(span, message);
        }
        field
    }
}

/// Where an expression starts: the engine places a chain at its last link.
fn start(expression: &Expr<'_>) -> Span {
    let mut first = expression;
    loop {
        first = match first {
            Expr::GetAttr(get) => &get.expr,
            Expr::GetItem(get) => &get.expr,
            Expr::Call(call) => &call.expr,
            Expr::Test(test) => &test.expr,
            Expr::Filter(filter) => match &filter.expr {
                Some(value) => value,
                None => return first.span(),
            },
            _ => return first.span(),
        };
    }
}

/// What a filter makes of a value, where that is known.
fn filtered(name: &str, base: Known) -> Known {
    match (name, base) {
        (
            "sort" | "reverse" | "list" | "unique" | "select" | "reject" | "selectattr" | "rejectattr",
            base,
        ) => base,
        ("first" | "last", Some(Shape::List(item))) => Some(*item),
        ("default" | "d", base) => base,
        _ => None,
    }
}

/// Whether the environment has a filter or test of that name.
fn exists(question: &str, name: &str) -> bool {
    ENVIRONMENT
        .compile_expression(question)
        .and_then(|expression| expression.eval(context! { name }))
        .is_ok_and(|answer| answer.is_true())
}

#[cfg(test)]
mod tests;
