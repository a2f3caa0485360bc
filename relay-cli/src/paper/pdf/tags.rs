//! What each text is: the tree that a screen reader follows.

use std::num::NonZeroU16;

use krilla::tagging::{
    Identifier, ListNumbering, Node, TableHeaderScope, Tag, TagGroup, TagKind, TagTree,
};

/// A place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

/// What a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Heading(u16, String),
    Paragraph,
    Table(String),
    Row,
    HeadOfRow,
    HeadOfColumn,
    Cell,
    List,
    Item,
    ItemBody,
    Figure(String),
}

/// The groups, each after the one that it is in.
#[derive(Debug, Clone, Default)]
pub(super) struct Tags(Vec<(Role, Option<Place>)>);

impl Tags {
    /// A group at the end of another one, or of the document.
    pub(super) fn add(&mut self, role: Role, inside: Option<Place>) -> Place {
        self.0.push((role, inside));
        Place(self.0.len() - 1)
    }

    /// The tree, with what was drawn in each group.
    pub(super) fn tree(&self, drawn: Vec<(Place, Identifier)>) -> TagTree {
        let mut groups: Vec<TagGroup> =
            self.0.iter().map(|(role, _)| TagGroup::new(kind(role))).collect();
        for (place, content) in drawn {
            if let Some(group) = groups.get_mut(place.0) {
                group.push(content);
            }
        }
        // From the last one on, so that a group is whole before it goes into its own.
        let mut roots = Vec::new();
        let mut inner: Vec<Vec<TagGroup>> = self.0.iter().map(|_| Vec::new()).collect();
        for (position, (_, inside)) in self.0.iter().enumerate().rev() {
            let Some(mut group) = groups.pop() else { break };
            let children = inner.get_mut(position).map(std::mem::take).unwrap_or_default();
            for child in children.into_iter().rev() {
                group.push(Node::Group(child));
            }
            match inside.and_then(|place| inner.get_mut(place.0)) {
                Some(siblings) => siblings.push(group),
                None => roots.push(group),
            }
        }
        let mut tree = TagTree::new().with_lang(Some("en".to_owned()));
        for group in roots.into_iter().rev() {
            tree.push(Node::Group(group));
        }
        tree
    }
}

fn kind(role: &Role) -> TagKind {
    match role {
        Role::Heading(level, title) => {
            let level = NonZeroU16::new(*level).unwrap_or(NonZeroU16::MIN);
            Tag::Hn(level, Some(title.clone())).into()
        }
        Role::Paragraph => Tag::P.into(),
        Role::Table(summary) => Tag::Table.with_summary(Some(summary.clone())).into(),
        Role::Row => Tag::TR.into(),
        Role::HeadOfRow => Tag::TH(TableHeaderScope::Row).into(),
        Role::HeadOfColumn => Tag::TH(TableHeaderScope::Column).into(),
        Role::Cell => Tag::TD.into(),
        Role::List => Tag::L(ListNumbering::Disc).into(),
        Role::Item => Tag::LI.into(),
        Role::ItemBody => Tag::LBody.into(),
        Role::Figure(told) => Tag::Figure(Some(told.clone())).into(),
    }
}
