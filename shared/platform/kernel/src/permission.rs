//! What a person may do: one registry, from which the `permissions` table is seeded (S1.5, S3.5).

use std::collections::BTreeSet;

macro_rules! permissions {
    ($($variant:ident = $code:literal),+ $(,)?) => {
        /// A permission that a route declares and a role grants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in the `permissions` table and in error details.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The permission with this code.
            #[must_use]
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

permissions! {
    ApiKeysManage = "apikeys.manage",
    ApprovalsDecide = "approvals.decide",
    ApprovalsPoliciesManage = "approvals.policies.manage",
    ApprovalsRequestsRead = "approvals.requests.read",
    AuditExport = "audit.export",
    AuditRead = "audit.read",
    CodeManage = "code.manage",
    ContactRead = "contact.read",
    ContactCreate = "contact.create",
    ContactUpdate = "contact.update",
    ContactDelete = "contact.delete",
    EntitlementsOverridesManage = "entitlements.overrides.manage",
    EntitlementsView = "entitlements.view",
    GdprManage = "gdpr.manage",
    GroupsManage = "groups.manage",
    GroupsMembersManage = "groups.members.manage",
    MessagingAccountsManage = "messaging.accounts.manage",
    MessagingRead = "messaging.read",
    MessagingSend = "messaging.send",
    NotifySendTest = "notify.send.test",
    NotifyTemplatesManage = "notify.templates.manage",
    PhoneVerifyConfirm = "phone.verify.confirm",
    PhoneVerifyStart = "phone.verify.start",
    PlanView = "plan.view",
    RoleAssign = "role.assign",
    RoleRead = "role.read",
    RolesHierarchyManage = "roles.hierarchy.manage",
    RolesManage = "roles.manage",
    SeatsView = "seats.view",
    SessionReadSelf = "session.read.self",
    SessionRevokeSelf = "session.revoke.self",
    SessionRevokeTenant = "session.revoke.tenant",
    TwoFaManageSelf = "twofa.manage.self",
    TwoFaManageTenant = "twofa.manage.tenant",
    UserDeactivate = "user.deactivate",
    UserDelete = "user.delete",
    UserForceLogout = "user.forceLogout",
    UserInvite = "user.invite",
    UserManage = "user.manage",
    UserRead = "user.read",
    UserReinstate = "user.reinstate",
    UserSuspend = "user.suspend",
    UserUpdate = "user.update",
}

impl Permission {
    /// What everybody may do for themselves, whatever their roles: every role carries it, and it
    /// means nothing for a program.
    pub const SELF_SERVICE: &'static [Self] = &[
        Self::PhoneVerifyConfirm,
        Self::PhoneVerifyStart,
        Self::SessionReadSelf,
        Self::SessionRevokeSelf,
        Self::TwoFaManageSelf,
    ];

    /// Whether it needs a verified e-mail address (S1.6): what changes who may do what, takes data out
    /// of the system, or writes in the company's name. Connecting a messaging account is not among
    /// them: a new company does that first.
    #[must_use]
    pub const fn is_privileged(self) -> bool {
        matches!(
            self,
            Self::ApiKeysManage
                | Self::ApprovalsPoliciesManage
                | Self::AuditExport
                | Self::EntitlementsOverridesManage
                | Self::GdprManage
                | Self::GroupsManage
                | Self::GroupsMembersManage
                | Self::NotifySendTest
                | Self::NotifyTemplatesManage
                | Self::RoleAssign
                | Self::RolesHierarchyManage
                | Self::RolesManage
                | Self::SessionRevokeTenant
                | Self::TwoFaManageTenant
                | Self::UserDeactivate
                | Self::UserDelete
                | Self::UserForceLogout
                | Self::UserInvite
                | Self::UserManage
                | Self::UserReinstate
                | Self::UserSuspend
                | Self::UserUpdate
        )
    }

    /// Whether a company that did not pay, and is out of grace, keeps it: all but the work with
    /// customers. Administration, export and billing stay, and what guards log-ins.
    #[must_use]
    pub const fn is_kept_past_due(self) -> bool {
        !matches!(
            self,
            Self::ApprovalsDecide
                | Self::ApprovalsPoliciesManage
                | Self::ApprovalsRequestsRead
                | Self::ContactRead
                | Self::ContactCreate
                | Self::ContactUpdate
                | Self::ContactDelete
                | Self::MessagingAccountsManage
                | Self::MessagingRead
                | Self::MessagingSend
                | Self::NotifySendTest
                | Self::NotifyTemplatesManage
        )
    }

    /// The finer permissions that come with this one: a role or key that is given it is given them.
    #[must_use]
    pub fn implies(self) -> &'static [Self] {
        match self {
            Self::UserManage => &[
                Self::UserDeactivate,
                Self::UserDelete,
                Self::UserForceLogout,
                Self::UserInvite,
                Self::UserRead,
                Self::UserReinstate,
                Self::UserSuspend,
                Self::UserUpdate,
            ],
            _ => &[],
        }
    }

    /// These and what they imply, each once.
    #[must_use]
    pub fn with_implied(given: &[Self]) -> BTreeSet<Self> {
        let implied = given.iter().flat_map(|permission| permission.implies());
        given.iter().chain(implied).copied().collect()
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_leads_back_to_its_permission_and_no_other_text_does() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.code()), Some(*permission));
        }
        for text in ["", "user.Manage", "user.manage ", "*"] {
            assert_eq!(Permission::parse(text), None, "{text}");
        }
    }

    #[test]
    fn to_manage_users_is_to_do_each_thing_to_them() {
        let held = Permission::with_implied(&[Permission::UserManage, Permission::UserRead]);
        assert_eq!(held.len(), 9);
        assert!(held.contains(&Permission::UserForceLogout));
        assert!(!held.contains(&Permission::RoleAssign), "roles are given apart");
        assert_eq!(Permission::with_implied(&[Permission::UserRead]).len(), 1);
    }
}
