//! A timeline as inline SVG. What is drawn is also told in its description, step by step.

use super::{Timeline, escaped};

/// The drawing; `number` makes its ids its own.
pub(super) fn draw(timeline: &Timeline, number: usize) -> String {
    let steps: Vec<_> = timeline.steps.iter().zip(0..).collect();
    let count = i32::try_from(steps.len()).unwrap_or(i32::MAX);
    let height = count.saturating_mul(STEP_HEIGHT).saturating_add(4);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"timeline-{number} steps-{number}\">\n\
         <title id=\"timeline-{number}\">{}</title>\n<desc id=\"steps-{number}\">{}</desc>\n",
        escaped(&timeline.title),
        escaped(&told(timeline)),
    );
    // From the first dot to the last one.
    let last = count.saturating_sub(1).saturating_mul(STEP_HEIGHT).saturating_add(DOT_Y);
    out.push_str(&format!(
        "<line x1=\"{DOT_X}\" y1=\"{DOT_Y}\" x2=\"{DOT_X}\" y2=\"{last}\" stroke=\"#444\"/>\n"
    ));
    for (step, position) in steps {
        let top = STEP_HEIGHT.saturating_mul(position);
        let mut text = |x: i32, y: i32, class: &str, words: &str| {
            let (y, words) = (top.saturating_add(y), escaped(words));
            out.push_str(&format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{words}</text>\n"));
        };
        text(TIME_X, 17, "when", &step.at.to_string());
        text(TIME_X, 31, "small end", &format!("clock {}", step.clock));
        if let Some(gap) = &step.gap {
            text(TIME_X, -1, "small end", gap);
        }
        text(WHAT_X, 17, "what", &step.what);
        text(WHAT_X, 31, "small", &step.meaning);
        text(WHAT_X, 44, "small", &step.place);
        let y = top.saturating_add(DOT_Y);
        out.push_str(&format!(
            "<circle cx=\"{DOT_X}\" cy=\"{y}\" r=\"8\" fill=\"#fff\" stroke=\"#111\"/>\n\
             <text x=\"{DOT_X}\" y=\"{}\" class=\"number\">{}</text>\n",
            y.saturating_add(4),
            step.number
        ));
    }
    out.push_str("</svg>\n");
    out
}

/// The drawing in words.
pub fn told(timeline: &Timeline) -> String {
    let steps = timeline.steps.iter().map(|step| {
        let (number, at, clock) = (step.number, step.at, &step.clock);
        let (what, meaning, place) = (&step.what, &step.meaning, &step.place);
        format!("{number}. {at}, clock {clock}: {what}: {meaning}. {place}.")
    });
    steps.collect::<Vec<_>>().join(" ")
}

const WIDTH: i32 = 680;
const STEP_HEIGHT: i32 = 58;
const TIME_X: i32 = 192;
const DOT_X: i32 = 212;
const DOT_Y: i32 = 16;
const WHAT_X: i32 = 232;
