use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::view::fixture::{hostile, is_harmless};

#[test]
fn control_and_direction_characters_become_visible() {
    assert_eq!(clean("a\u{1b}[2Jb\n\u{202e}c\u{9b}"), "a\\x1b[2Jb\\n\\u{202e}c\\x9b");
    assert!(matches!(clean("ordinary ünïcode 日本"), Cow::Borrowed(_)));
}

#[test]
fn json_keeps_its_meaning_when_it_is_made_harmless() {
    let text = "\u{1b}\u{9b}\u{7f}\u{202e}\u{e0041}\n";
    let json = clean_json(serde_json::to_string(text).unwrap());
    assert!(is_harmless(&json) && json.is_ascii(), "{json}");
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
}

#[test]
fn text_is_cut_by_columns_and_not_by_characters() {
    assert_eq!(fit("server", 6), "server");
    assert_eq!(fit("servers", 6), "serve…");
    assert_eq!(fit("日本語", 5), "日本…");
    assert_eq!(fit("日本語", 4), "日…");
    assert_eq!(fit("x", 0), "");
    assert_eq!(pad("日本", 6), "日本  ");
    assert_eq!(pad_left("8 GiB", 8), "   8 GiB");
}

#[test]
fn prose_is_broken_at_spaces_and_long_words_anywhere() {
    assert_eq!(wrap("one two\nthree", 7), ["one two", "three"]);
    assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(wrap("  ", 4), Vec::<String>::new());
}

#[test]
fn numbers_are_said_as_people_say_them() {
    let durations = [0, 12, 60, 200, 3_600, 3_900, 86_400, 97_200].map(duration);
    assert_eq!(durations, ["0 s", "12 s", "1 min", "3 min 20 s", "1 h", "1 h 05 min", "1 d", "1 d 3 h"]);
    let sizes = [0, 512, 1024, 1536, 9_728, 2_097_152, u64::MAX].map(mib);
    assert_eq!(sizes, ["0 MiB", "512 MiB", "1 GiB", "1.5 GiB", "9.5 GiB", "2 TiB", "17592186044415 TiB"]);
    assert_eq!([1, 2].map(|n| count(n, "server")), ["1 server", "2 servers"]);
}

#[test]
fn commands_can_be_copied_into_a_shell() {
    let argv = ["ssh", "cmp-07", "it's; rm -rf /", ""].map(str::to_owned);
    assert_eq!(shell(&argv), r"ssh cmp-07 'it'\''s; rm -rf /' ''");
}

#[test]
fn the_widest_column_of_a_table_gives_way() {
    let mut table = Table::new(&[("HOST", Align::Left, 0), ("MEMORY", Align::Right, 0), ("WHY", Align::Left, 0)]);
    table.row(vec![(Tone::Plain, "cmp-07".into()), (Tone::Bad, "8 GiB".into()), (Tone::Plain, "why ".repeat(30))]);
    let mut page = Page::new(Style { color: false, width: 60 });
    table.write(&mut page, 2);
    insta::assert_snapshot!(page.finish(), @r#"
    HOST    MEMORY  WHY
    cmp-07   8 GiB  why why why why why why why why why why w…
    "#);
}

#[test]
fn what_a_row_is_about_is_cut_last() {
    let columns = [("HOST", 12), ("ZONE", 4), ("SERVICE", 14), ("SERVERS", 10), ("DISABLED BECAUSE", 22)];
    let mut table = Table::new(&columns.map(|(title, least)| (title, Align::Left, least)));
    let cells = ["cmp-07.prod1", "nova", "disabled, DOWN", "112 ACTIVE", "run 20261123-2308-f4f4"];
    table.row(cells.map(|cell| (Tone::Plain, cell.to_owned())).to_vec());
    let mut page = Page::new(Style { color: false, width: 60 });
    table.write(&mut page, 0);
    insta::assert_snapshot!(page.finish(), @r#"
    HOST          ZONE  SERVICE         SERVERS     DISABLED BE…
    cmp-07.prod1  nova  disabled, DOWN  112 ACTIVE  run 2026112…
    "#);
}

proptest! {
    #[test]
    fn fitted_text_fits(text in hostile(), columns in 0..40_usize) {
        let text = clean(&text);
        prop_assert!(width(&fit(&text, columns)) <= columns);
        prop_assert!(is_harmless(&text));
    }

    #[test]
    fn no_word_is_lost_in_wrapping(text in "[a-z ]{0,80}", columns in 1..30_usize) {
        let wrapped = wrap(&text, columns);
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(letters(&wrapped.concat()), letters(&text));
        prop_assert!(wrapped.iter().all(|line| width(line) <= columns));
    }

    #[test]
    fn a_page_is_never_wider_than_asked(cells in prop::collection::vec(hostile(), 0..24), columns in 60..140_u16) {
        let style = Style { color: false, width: columns };
        let mut page = Page::new(style);
        let mut table = Table::new(&[("A", Align::Left, 9); 6]);
        for row in cells.chunks(6) {
            table.row(row.iter().map(|cell| (Tone::Plain, cell.clone())).collect());
            page.wrapped("  lead  ", Tone::Plain, &row.concat());
        }
        table.write(&mut page, 4);
        let text = page.finish();
        prop_assert!(is_harmless(&text));
        for line in text.lines() {
            prop_assert!(width(line) <= style.columns(), "{} columns: {line:?}", width(line));
        }
    }
}
