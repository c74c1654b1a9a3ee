"""People, roles, invitations and API keys. The same tables exist in every tenant's schema and, for the platform's own
staff, in the public one; nothing refers across schemas."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from apps.access.choices import Theme
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.tenancy.contracts import current_scope


class UserManager(BaseUserManager["User"]):
    """Makes users; addresses are kept in lower case, because people type them either way."""

    def get_by_natural_key(self, username: str | None) -> User:
        """The user with that e-mail address."""
        return self.get(email=(username or "").lower())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A user who signs in with the address.

        Args:
            email: address; lower-cased.
            password: None makes an account that cannot sign in until a password is set.
            fields: further columns.
        """
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A member of the platform's staff (public schema)."""
        return self.create_user(email, password, is_platform_staff=True, **fields)


class Role(models.Model):
    """A named set of permissions."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=300, blank=True)
    builtin = models.BooleanField(default=False, editable=False)
    permissions = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-builtin", "name"]

    def __str__(self) -> str:
        return self.name


class User(AbstractBaseUser):
    """A person who signs in with an e-mail address.

    `is_platform_staff` counts in the public schema only. Inside a tenant, rights come from roles alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=120, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    locale = models.CharField(max_length=16, default="en")
    theme = models.CharField(max_length=8, choices=Theme, default=Theme.SYSTEM)
    is_active = models.BooleanField(default=True)
    is_platform_staff = models.BooleanField(
        default=False, help_text="Works for the platform's operator. Has an effect on the platform's own host only."
    )
    roles = models.ManyToManyField(Role, related_name="users", blank=True)
    removed_at = models.DateTimeField(null=True, blank=True, help_text="Left the organisation; kept for references.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]
        constraints = [models.UniqueConstraint(Lower("email"), name="access_user_email_ci")]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        """The name, or the address of somebody who gave none."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """First word of the name, or the address."""
        return self.name.split(" ")[0] if self.name else self.email

    @cached_property
    def permission_codes(self) -> frozenset[str]:
        """Permissions of all roles together; one query, remembered for the life of this instance."""
        codes: set[str] = set()
        for granted in Role.objects.filter(users=self.pk).values_list("permissions", flat=True):
            codes.update(granted)
        return frozenset(codes)

    @property
    def is_staff(self) -> bool:
        """May open the admin site: platform staff on the platform's host, `tenant:manage` on a tenant's host."""
        if current_scope.get().is_public:
            return self.is_active and self.is_platform_staff
        return self.is_active and "tenant:manage" in self.permission_codes

    @property
    def is_superuser(self) -> bool:
        """Same as `is_staff`: the admin site knows no finer rights than the services behind it."""
        return self.is_staff

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Django's model permissions, asked by the admin site only."""
        return self.is_staff

    def has_perms(self, perm_list: Any, obj: object = None) -> bool:
        """As `has_perm`."""
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        """As `has_perm`."""
        return self.is_staff


class Invitation(models.Model):
    """An open place for a person; the token is stored as a hash and works once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254)
    roles = models.ManyToManyField(Role, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    invited_by_name = models.CharField(max_length=254, blank=True)
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="access_invitation_one_open",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def is_open(self) -> bool:
        """Whether it can still be accepted."""
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > now()

    @property
    def status(self) -> str:
        """`open`, `accepted`, `revoked` or `expired`."""
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "revoked"
        return "open" if self.is_open else "expired"


class ApiKey(models.Model):
    """A key for programs. Only a hash is stored; it can do what its scopes and its creator's roles both allow."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True, editable=False)
    key_hash = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=60), default=list)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "active"
