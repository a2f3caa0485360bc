//! Enumerations by name, as message files and faults write them: `AMBER+STRICT`, `REQUEST_ACTION`.
//!
//! Enter through [`Named`]. Invariant: number 0 is "not stated" and has no name.

use crate::v1;

/// An enumeration of the payload whose values have names in files.
pub(crate) trait Named: Copy + Default + PartialEq + TryFrom<i32> + Into<i32> {
    /// The value's name without the prefix that protobuf wants.
    fn name(self) -> &'static str;

    /// The known value of a number on the wire; none for 0 and for unknown ones.
    fn known(number: i32) -> Option<Self> {
        Self::try_from(number).ok().filter(|value| *value != Self::default())
    }

    /// The value of a name.
    fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|value| value.name() == name)
    }

    /// All that have a name.
    fn all() -> impl Iterator<Item = Self> {
        (1..=NUMBER_MAX).filter_map(Self::known)
    }

    /// All names, for a fault's text.
    fn names() -> String {
        Self::all().map(|value| value.name()).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! named {
    ($($name:ident $prefix:literal),* $(,)?) => {$(
        impl Named for v1::$name {
            fn name(self) -> &'static str {
                let name = self.as_str_name();
                match name.strip_prefix($prefix).unwrap_or(name) {
                    // The standard's own spelling (FIRST TLP 2.0).
                    "AMBER_STRICT" => "AMBER+STRICT",
                    short => short,
                }
            }
        }
    )*};
}

named! {
    Kind "KIND_", Priority "PRIORITY_", Tlp "TLP_", Pap "PAP_", EuropolCode "EUROPOL_CODE_",
    Classification "CLASSIFICATION_", Lifecycle "LIFECYCLE_", AlertType "ALERT_TYPE_",
    Severity "SEVERITY_", ActionRequested "ACTION_REQUESTED_", DoNot "DO_NOT_",
    Audience "AUDIENCE_", Answer "ANSWER_", RequestStatus "REQUEST_STATUS_",
    ProceedingStage "PROCEEDING_STAGE_", DataClass "DATA_CLASS_",
    NecessityCode "NECESSITY_CODE_", MlaMeasure "MLA_MEASURE_", CancelReason "CANCEL_REASON_",
    FeedbackOutcome "FEEDBACK_OUTCOME_", ConditionAnswer "CONDITION_ANSWER_",
    RiskType "RISK_TYPE_", RiskAnswer "RISK_ANSWER_", ItemDecision "ITEM_DECISION_",
    RefusalGround "REFUSAL_GROUND_", Carry "CARRY_", FoundStatus "FOUND_STATUS_",
    MlaStatus "MLA_STATUS_", MlaEffect "MLA_EFFECT_", MlaOutcome "MLA_OUTCOME_",
    WithdrawalReason "WITHDRAWAL_REASON_", FinalState "FINAL_STATE_",
    IncidentType "INCIDENT_TYPE_", Determination "DETERMINATION_", FollowUp "FOLLOW_UP_",
    AssistanceWanted "ASSISTANCE_WANTED_", AssistanceOutcome "ASSISTANCE_OUTCOME_",
    WantedUse "WANTED_USE_", ReleaseDecision "RELEASE_DECISION_", HandlingDone "HANDLING_DONE_",
}

/// Numbers of named values are below this; the highest kind is 33.
const NUMBER_MAX: i32 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are the short ones of the files and lead back to the value.
    #[test]
    fn names_lead_back() {
        assert_eq!(v1::Tlp::names(), "CLEAR, GREEN, AMBER, AMBER+STRICT, RED");
        assert_eq!(v1::Tlp::by_name("AMBER+STRICT"), Some(v1::Tlp::AmberStrict));
        assert_eq!(v1::DoNot::by_name("NO_SCAN"), Some(v1::DoNot::NoScan));
        assert_eq!(v1::EuropolCode::names(), "H0, H1, H2, H3");
        for bad in ["UNSPECIFIED", "TLP_RED", "red", ""] {
            assert_eq!(v1::Tlp::by_name(bad), None, "{bad}");
        }
        assert_eq!(v1::Kind::known(32), None);
    }
}
