"""What every installation shares: the apps, the request path, the API, templates and static files."""

from __future__ import annotations

from pathlib import Path

from config.settings import env
from config.settings.celery import *
from config.settings.database import *
from config.settings.observability import *
from config.settings.security import *

BASE_DIR: Path = env.BASE_DIR
DEBUG = False
SECRET_KEY = env.SECRET_KEY

# --- apps ----------------------------------------------------------------------------------------------------------
# Users, sessions and log-in live in every schema: the public one holds platform staff, a tenant's own holds its people.
IDENTITY_APPS = [
    "django.contrib.contenttypes",
    "apps.access",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.admin",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
]
SHARED_APPS = [
    "apps.tenancy",
    *IDENTITY_APPS,
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "apps.core",
    "apps.expressions",
    "apps.frontends",
    "apps.portal",
    # Last, so that its admin templates do not stand before Django's own.
    "django_tenants",
]
TENANT_APPS = [
    *IDENTITY_APPS,
    "apps.vault",
    "apps.audit",
    "apps.events",
    "apps.connectors",
    "apps.quality",
    "apps.integrations",
    "apps.engine",
    "apps.messaging",
]
INSTALLED_APPS = [*SHARED_APPS, *[app for app in TENANT_APPS if app not in SHARED_APPS]]

TENANT_MODEL = "tenancy.Tenant"
TENANT_DOMAIN_MODEL = "tenancy.Domain"
PUBLIC_SCHEMA_NAME = "public"
PUBLIC_SCHEMA_URLCONF = "config.urls_public"
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
AUTH_USER_MODEL = "access.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
BASE_DOMAIN = env.BASE_DOMAIN
PUBLIC_PORT = env.PUBLIC_PORT

# --- request path --------------------------------------------------------------------------------------------------
MIDDLEWARE = [
    "apps.portal.middleware.HealthMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.portal.middleware.RequestContextMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "apps.tenancy.middleware.TenantMiddleware",
    # After the tenant: only its exact list of domains says which host may be redirected to HTTPS.
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.access.middleware.SessionActivityMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- language and time ---------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
# Texts of other packages in the portal's own words.
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
USE_TZ = True

# --- static files and uploads --------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT: Path | None = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_IMMUTABLE_FILE_TEST = r"^.+[-.][0-9a-zA-Z_-]{8,}\..+$"
FILES_ROOT = env.FILES_ROOT
SPILL_ROOT = env.SPILL_ROOT
UPLOAD_MAX_BYTES = env.UPLOAD_MAX_BYTES
ENGINE = env.ENGINE
AUDIT_ANCHOR_FILE = env.AUDIT_ANCHOR_FILE
QUALITY_RETENTION_DAYS = env.QUALITY_RETENTION_DAYS
EVENTS_RETENTION_DAYS = env.EVENTS_RETENTION_DAYS
VAULT_AUDITED_PURPOSES: list[str] = []
WEBHOOKS_ALLOW_HTTP = False
WEBHOOK_LIMITS = env.WEBHOOK_LIMITS
DEMO_ALLOWED = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024**2
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 * 1024**2

# --- mail ----------------------------------------------------------------------------------------------------------
globals().update(env.env.email_url_config(env.EMAIL_URL))
DEFAULT_FROM_EMAIL = env.EMAIL_FROM
MAIL_SENDERS = env.MAIL_SENDERS

# --- API -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.access.services.http.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.api.parsers.BoundedJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.pagination.CursorPage",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [
        "apps.access.services.http.ActorThrottle",
        "apps.access.services.http.TenantThrottle",
    ],
    # Without it DRF takes the whole X-Forwarded-For as the address, which a caller can vary at will.
    "NUM_PROXIES": env.TRUSTED_PROXIES,
    "DEFAULT_THROTTLE_RATES": {"actor": "1200/min", "tenant": "12000/min"},
    "EXCEPTION_HANDLER": "apps.core.api.problems.handle_exception",
    "COERCE_DECIMAL_TO_STRING": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Analytics Integration Portal",
    "DESCRIPTION": "REST v2: connections, flows, runs, quarantine, reconciliation and access of one tenant.",
    "VERSION": "2.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v2",
    "COMPONENT_SPLIT_REQUEST": True,
    # Inputs of PATCH say themselves which of their fields may be left out.
    "COMPONENT_SPLIT_PATCH": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.portal.api.openapi.add_problem_responses",
    ],
    "ENUM_NAME_OVERRIDES": {
        "TriggerKindEnum": "apps.engine.choices.TriggerKind",
        "InvitationStatusEnum": ["open", "accepted", "revoked", "expired"],
        "ApiKeyStatusEnum": ["active", "revoked", "expired"],
        "TenantStatusEnum": "apps.tenancy.choices.TenantStatus",
        "ProvisioningStatusEnum": "apps.tenancy.choices.ProvisioningStatus",
        "ThemeEnum": "apps.access.choices.Theme",
        "QuarantineStatusEnum": "apps.quality.choices.QuarantineStatus",
        "ReconciliationStatusEnum": "apps.quality.choices.ReconciliationStatus",
        "DeploymentStatusEnum": "apps.integrations.choices.DeploymentStatus",
        "FlowKindEnum": "apps.integrations.choices.FlowKind",
        "RunStatusEnum": "apps.engine.choices.RunStatus",
        "StepStatusEnum": "apps.engine.choices.StepStatus",
        "TaskStatusEnum": "apps.engine.choices.TaskStatus",
        "RunKindEnum": "apps.engine.choices.RunKind",
        "RunModeEnum": "apps.engine.choices.RunMode",
        "RunTriggerEnum": "apps.engine.choices.RunTrigger",
        "EventSubscriptionStatusEnum": "apps.events.choices.SubscriptionStatus",
        "EventCompatibilityEnum": "apps.events.choices.Compatibility",
        "ConsumerStatusEnum": "apps.messaging.choices.ConsumerStatus",
        "DeadLetterStatusEnum": "apps.messaging.choices.LetterStatus",
        "MessageFormatEnum": "apps.messaging.choices.MessageFormat",
        "WebhookEndpointStatusEnum": "apps.events.choices.EndpointStatus",
        "WebhookEndpointStateEnum": ["active", "paused"],
        "EventDeliveryStatusEnum": "apps.events.choices.DeliveryStatus",
        "ConnectionStatusEnum": "apps.connectors.choices.ConnectionStatus",
    },
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
}
